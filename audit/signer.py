"""The signing keys of one log, Ed25519 and ML-DSA-44, and the newest tree that they have signed.

Keys are made on first use and lie in the keys folder beside the state of what was signed, which must not travel back in time
with a restored database. A rotation makes new keys and keeps the public halves of the old ones: what they signed stays
checkable, and every checkpoint after it carries the new signatures over the same tree.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit import note
from audit.durable import locked, make_folder, own_secret, write_durably
from audit.errors import KeyUnavailable, SigningRefused
from audit.merkle import CompactRange
from audit.note import Scheme, SigningKey, VerifierKey

ED25519_FILE: Final = "ed25519.key"
_FILES: Final = {Scheme.ED25519: ED25519_FILE, Scheme.ML_DSA_44: "mldsa44.key"}
_STATE: Final = "state.json"
_KNOWN: Final = "public.json"
"""The verifier keys that ever signed, oldest first."""


def signer_folder(keys: Path, origin: str) -> Path:
    """Where the private keys of the log `origin` lie in the keys folder, their state beside them."""
    return keys / "signers" / quote(origin, safe="")


def known_keys(keys: Path, origin: str) -> tuple[VerifierKey, ...]:
    """The verifier keys under which the log `origin` was ever signed here, oldest first; raises KeyUnavailable."""
    path = signer_folder(keys, origin) / _KNOWN
    if not path.exists():
        return ()
    try:
        known = tuple(map(note.decode_vkey, json.loads(path.read_bytes())))
        if not known:
            raise ValueError("empty")
    except Exception as error:
        raise KeyUnavailable(f"{path} is damaged; restore it from its backup") from error
    return known


class Signer:
    """The keys of one log and the newest tree it has signed; it never signs two histories.

    It keeps the frontier of the signed tree, so growth is checked leaf by leaf and not believed. Keys and state are read
    anew under the lock for every signature, since another process may have signed, or rotated the keys.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        note.check_name(origin)
        self._keys_folder, self._folder, self._origin = folder, signer_folder(folder, origin), origin
        self._tree = CompactRange()
        self._keys: tuple[SigningKey, ...] = ()
        self._known: tuple[str, ...] = ()
        make_folder(self._folder)
        with locked(self._folder):
            self._load()

    @property
    def vkey(self) -> str:
        """The public Ed25519 verifier key (C2SP signed-note encoding); publish it outside this machine."""
        return self.vkeys[0]

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The verifier keys that sign now, Ed25519 first."""
        public = (key.public_key().public_bytes_raw() for key in self._keys)
        return tuple(note.encode_vkey(self._origin, raw, scheme) for raw, scheme in zip(public, _FILES, strict=True))

    @property
    def former(self) -> tuple[str, ...]:
        """The verifier keys that signed before a rotation, oldest first."""
        now = self.vkeys
        return tuple(vkey for vkey in self._known if vkey not in now)

    @property
    def size(self) -> int:
        """Leaves of the newest signed tree."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """Root of the newest signed tree."""
        return self._tree.root()

    def sign(self, size: int, root: bytes, leaves: Sequence[bytes]) -> str:
        """Sign the tree of `size` and `root` with every key; `leaves` are the leaf hashes from `self.size` up to `size`.

        The new state is durable before the note is returned. Raises SigningRefused for a smaller tree or one
        that does not extend the last signed one.
        """
        with locked(self._folder):
            self._load()
            if size < self._tree.size:
                raise SigningRefused(
                    f"asked to sign {size} records after {self._tree.size}: the database went back in time; "
                    "restore the newer one"
                )
            grown = self._tree.copy()
            grown.extend(leaves[-(size - grown.size) :] if size > grown.size else ())
            if grown.size != size or grown.root() != root:
                raise SigningRefused(f"the tree of {size} records does not extend the signed {self._tree.size}")
            self._store(grown)
            self._tree = grown
        return note.sign_checkpoint(note.Checkpoint(self._origin, size, root), *self._keys)

    def rotate(self) -> None:
        """Replace both private keys; what the old ones have signed stays as it is, and their public halves stay known.

        A crash half way leaves one new key and one old, each known: rotate again.
        """
        with locked(self._folder):
            self._load()
            for name in _FILES.values():
                write_durably(self._folder / name, secrets.token_bytes(32))
            self._load()

    def _load(self) -> None:
        """Keys and state as they are on the disk; whoever calls holds the lock."""
        self._tree, self._known = self._read_tree(), tuple(map(str, known_keys(self._keys_folder, self._origin)))
        ed25519, lattice = (self._secret(scheme) for scheme in _FILES)
        self._keys = (
            Ed25519PrivateKey.from_private_bytes(ed25519),
            MLDSA44PrivateKey.from_seed_bytes(lattice),
        )
        if fresh := [vkey for vkey in self.vkeys if vkey not in self._known]:
            self._known = (*self._known, *fresh)
            write_durably(self._folder / _KNOWN, json.dumps(self._known).encode())

    def _secret(self, scheme: Scheme) -> bytes:
        """The private bytes of a key, made if there was none yet; a key that has signed is never made anew."""
        path = self._folder / _FILES[scheme]
        if not path.exists() and self._has_signed(scheme):
            raise KeyUnavailable(f"{path} is gone but has signed; restore it from its backup")
        return own_secret(path)

    def _has_signed(self, scheme: Scheme) -> bool:
        """Whether a key of this scheme was ever used here."""
        if any(note.decode_vkey(vkey).scheme is scheme for vkey in self._known):
            return True
        # A log from before there was ML-DSA-44 has a state and knows no keys.
        return scheme is Scheme.ED25519 and (self._folder / _STATE).exists()

    def _read_tree(self) -> CompactRange:
        path = self._folder / _STATE
        if not path.exists():
            return CompactRange()
        try:
            stored = json.loads(path.read_bytes())
            tree = CompactRange(stored["size"], [bytes.fromhex(item) for item in stored["hashes"]])
            if tree.root().hex() != stored["root"]:
                raise ValueError("root")
        except Exception as error:
            raise KeyUnavailable(f"{path} is damaged; restore it from its backup") from error
        return tree

    def _store(self, tree: CompactRange) -> None:
        hashes = [item.hex() for item in tree.hashes]
        stored = {"size": tree.size, "root": tree.root().hex(), "hashes": hashes}
        write_durably(self._folder / _STATE, json.dumps(stored, sort_keys=True).encode())
