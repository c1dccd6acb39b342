"""Passwords: what may be one, and how its hash is made and compared.

Argon2id with the second recommended parameters of RFC 9106 (64 MiB, 3 passes, 4 lanes). A password is 12 to 256 characters
after normalisation to NFC, so that it does not matter how a keyboard composes an accent, and is not the user's name; there is
no rule about kinds of characters (NIST SP 800-63B).
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from secrets import token_bytes
from typing import Final

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from gateway.registry import RegistryError

LEAST: Final = 12
MOST: Final = 256
_MOST_TYPED: Final = 4 * MOST
"""No more than this is normalised: composing leaves at least a quarter of a text's characters."""


def normalised(password: str) -> bytes | None:
    """The bytes that are hashed; None for a text that can be nobody's password."""
    if len(password) > _MOST_TYPED:
        return None
    composed = unicodedata.normalize("NFC", password)
    if not LEAST <= len(composed) <= MOST:
        return None
    try:
        return composed.encode()
    except UnicodeEncodeError:
        return None


def check_new(password: str, name: str) -> bytes:
    """The bytes of a new password for the user of this name; raises RegistryError with the rule that it breaks."""
    data = normalised(password)
    if data is None:
        raise RegistryError(f"a password has {LEAST} to {MOST} characters: choose another")
    if data.decode().strip().casefold() == name.casefold():
        raise RegistryError("a password is not the user's name: choose another")
    return data


class Passwords:
    """Hashes under one set of parameters. Blocking, for a fifth of a second: a gateway calls it by `hashing.in_turn`."""

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._nobodys = _like_a_hash(parameters)

    def hash(self, data: bytes) -> str:
        """A salted hash in PHC form, which names its parameters."""
        return self._hasher.hash(data)

    def match(self, stored: str | None, password: str) -> bool:
        """Whether this is the password of that hash. With no hash, or no possible password, the same work and False."""
        data = normalised(password)
        possible = stored is not None and data is not None
        return self._verify(stored or self._nobodys, data or b"") and possible

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made under other parameters than these."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, data: bytes) -> bool:
        try:
            return self._hasher.verify(stored, data)
        except VerificationError:
            return False


def _like_a_hash(parameters: Parameters) -> str:
    """A hash that costs what every hash of these parameters costs and that no password has: its tag is random."""
    cost = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    salt, tag = (b64encode(token_bytes(size)).decode().rstrip("=") for size in (parameters.salt_len, parameters.hash_len))
    return f"$argon2id$v={parameters.version}${cost}${salt}${tag}"
