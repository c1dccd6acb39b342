"""Secrets of the log, in a folder beside and outside the database: month keys of bodies, and the signing key.

Every write is temp file, fsync, rename, fsync of the folder, under an exclusive lock, so a crash leaves the
old or the new state and two processes never make two keys for one month. The signer's last size and root live
here because they must not travel back in time with a restored database. Whoever can read this folder can read
every body.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import note
from audit.errors import KeyUnavailable, SigningRefused
from audit.header import check_tenant
from audit.merkle import CompactRange
from audit.sealing import MonthSecret


@dataclass(frozen=True, slots=True)
class MonthKey:
    """One tenant's key for one subject and month; `key_id` is random and says nothing about the subject."""

    key_id: str
    secret: MonthSecret


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file so that a crash at any instant leaves either the old or the new bytes; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and creations inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a private folder and its parents durably; an existing one is left as it is."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's exclusive lock; other processes and threads wait."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


_GONE = ".gone"


def _overwrite(path: Path) -> None:
    """Zeros over the old bytes, in place; what the disk keeps beneath a file system is beyond us."""
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path) -> bytes:
    """The 32 bytes of a key file; raises KeyUnavailable for one that is missing or damaged."""
    raw = path.read_bytes() if path.is_file() else b""
    if len(raw) != 32:
        raise KeyUnavailable(f"{path} is {'damaged' if raw else 'missing or damaged'}; restore it from its backup")
    return raw


def own_secret(path: Path) -> bytes:
    """The same of a file that is made on first use; the caller holds the folder's lock."""
    if not path.exists():
        write_durably(path, secrets.token_bytes(32))
    return read_secret(path)


class KeyStore:
    """Month keys under `<folder>/months/<key id>.json`; made on first use, gone for every process once destroyed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "months"
        make_folder(self._folder)
        self._names: dict[tuple[str, str, str], MonthKey] = {}

    def month_key(self, tenant: str, subject: str, ts: int) -> MonthKey:
        """The key for bodies of `tenant` about `subject` in the UTC month of `ts` (microseconds).

        Durable before it is returned. Raises KeyUnavailable when the folder holds a file it cannot trust.
        """
        check_tenant(tenant)
        name = (tenant, subject, datetime.fromtimestamp(ts / 1_000_000, UTC).strftime("%Y-%m"))
        key = self._names.get(name)
        if key is None or self._is_destroyed(key):
            with locked(self._folder):
                self._scan()
                key = self._names.get(name) or self._create(name)
                self._names[name] = key
        return key

    def find(self, key_id: str) -> MonthKey:
        """The key that sealed a record, read afresh; raises KeyUnavailable when it was destroyed."""
        path = self._path(key_id)
        if not path.is_file():
            raise KeyUnavailable(f"month key {key_id} is not here: destroyed, or the folder is another log's")
        return self._read(path)[1]

    def keys_of(self, tenant: str, subject: str) -> tuple[str, ...]:
        """The ids of every month key of one subject that is here, ascending."""
        with locked(self._folder):
            self._scan()
        return tuple(sorted(key.key_id for name, key in self._names.items() if name[:2] == (tenant, subject)))

    def destroy(self, key_ids: Iterable[str]) -> int:
        """Destroy month keys for good and return how many were here; repeats harmlessly, also after a crash half way.

        A file leaves its name first, durably, and is then overwritten and removed: a crash leaves a key that is whole
        and in use, or one that nobody finds and that the next call removes.
        """
        with locked(self._folder):
            here = [path for path in map(self._path, key_ids) if path.is_file()]
            for path in here:
                path.rename(path.with_suffix(_GONE))
            sync_folder(self._folder)
            for path in self._folder.glob(f"*{_GONE}"):
                _overwrite(path)
                path.unlink()
            sync_folder(self._folder)
        return len(here)

    def _path(self, key_id: str) -> Path:
        return self._folder / f"{quote(key_id, safe='')}.json"

    def _is_destroyed(self, key: MonthKey) -> bool:
        """Whether another process erased a key that we still hold; a folder that is away has erased nothing."""
        return not self._path(key.key_id).exists() and self._folder.is_dir()

    def _scan(self) -> None:
        self._names = dict(self._read(path) for path in sorted(self._folder.glob("*.json")))

    def _read(self, path: Path) -> tuple[tuple[str, str, str], MonthKey]:
        try:
            stored = json.loads(path.read_bytes())
            secret = base64.b64decode(stored["secret"], validate=True)
            name = (str(stored["tenant"]), str(stored["subject"]), str(stored["month"]))
        except (KeyError, TypeError, ValueError) as error:
            raise KeyUnavailable(f"{path} is damaged; restore it from its backup") from error
        if len(secret) != 32:
            raise KeyUnavailable(f"{path} holds no 32-byte key; restore it from its backup")
        return name, MonthKey(path.stem, MonthSecret(secret))

    def _create(self, name: tuple[str, str, str]) -> MonthKey:
        tenant, subject, month = name
        key = MonthKey(f"{month}-{secrets.token_hex(8)}", MonthSecret(secrets.token_bytes(32)))
        stored = {"tenant": tenant, "subject": subject, "month": month, "secret": _text(key.secret)}
        write_durably(self._path(key.key_id), json.dumps(stored, sort_keys=True).encode())
        return key


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def signer_key(keys: Path, origin: str) -> Path:
    """Where the private key of the log `origin` lies in the keys folder, its state beside it."""
    return keys / "signers" / quote(origin, safe="") / "ed25519.key"


class Signer:
    """The Ed25519 key of one log and the newest tree it has signed; it never signs two histories.

    It keeps the frontier of the signed tree, so growth is checked leaf by leaf and not believed.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        note.check_name(origin)
        self._path = signer_key(folder, origin)
        self._folder = self._path.parent
        self._origin = origin
        make_folder(self._folder)
        with locked(self._folder):
            self._key = self._open_key()
            self._tree = self._load()

    @property
    def vkey(self) -> str:
        """The public verifier key (C2SP signed-note encoding); publish it outside this machine."""
        return note.encode_vkey(self._origin, self._key.public_key().public_bytes_raw())

    @property
    def size(self) -> int:
        """Leaves of the newest signed tree."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """Root of the newest signed tree."""
        return self._tree.root()

    def sign(self, size: int, root: bytes, leaves: Sequence[bytes]) -> str:
        """Sign the tree of `size` and `root`; `leaves` are the leaf hashes from `self.size` up to `size`.

        The new state is durable before the note is returned. Raises SigningRefused for a smaller tree or one
        that does not extend the last signed one.
        """
        with locked(self._folder):
            self._tree = self._load()
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
        return note.sign_checkpoint(note.Checkpoint(self._origin, size, root), self._key)

    def _open_key(self) -> Ed25519PrivateKey:
        if not self._path.exists() and (self._folder / "state.json").exists():
            raise KeyUnavailable(f"{self._path} is gone but its state is here; restore it from its backup")
        return Ed25519PrivateKey.from_private_bytes(own_secret(self._path))

    def _load(self) -> CompactRange:
        path = self._folder / "state.json"
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
        write_durably(self._folder / "state.json", json.dumps(stored, sort_keys=True).encode())
