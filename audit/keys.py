"""Month keys of bodies, in a folder beside and outside the database; the log's signing keys are in signer.py.

Two processes never make two keys for one month. Whoever can read this folder can read every body.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from audit.durable import locked, make_folder, sync_folder, write_durably
from audit.errors import KeyUnavailable
from audit.header import check_tenant
from audit.sealing import MonthSecret


@dataclass(frozen=True, slots=True)
class MonthKey:
    """One tenant's key for one subject and month; `key_id` is random and says nothing about the subject."""

    key_id: str
    secret: MonthSecret


_GONE = ".gone"
_DAY = 86_400_000_000


@lru_cache(64)
def _month(day: int) -> str:
    """The UTC month of a day since 1970."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m")


def _overwrite(path: Path) -> None:
    """Zeros over the old bytes, in place; what the disk keeps beneath a file system is beyond us."""
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())


class KeyStore:
    """Month keys under `<folder>/months/<key id>.json`; made on first use, gone for every process once destroyed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "months"
        make_folder(self._folder)
        self._names: dict[tuple[str, str, str], MonthKey] = {}
        self._files: dict[str, str] = {}  # by key id, ready for a look at every record
        self.changes = 0
        """Grows whenever the keys in memory change: one came, or one was destroyed."""

    def month_key(self, tenant: str, subject: str, ts: int) -> MonthKey:
        """The key for bodies of `tenant` about `subject` in the UTC month of `ts` (microseconds).

        Durable before it is returned. Raises KeyUnavailable when the folder holds a file it cannot trust.
        """
        name = (tenant, subject, _month(ts // _DAY))
        key = self._names.get(name)
        if key is None or self._is_destroyed(key):
            check_tenant(tenant)
            with locked(self._folder):
                self._scan()
                key = self._names.get(name)
                if key is None:
                    key = self._names[name] = self._create(name)
                    self.changes += 1
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

    def secrets_of(self, tenant: str) -> tuple[MonthKey, ...]:
        """Every month key of one tenant that is here, whoever the subject is; files are read again when some came or went."""
        here = {path.stem for path in self._folder.glob("*.json")}
        if here != {key.key_id for key in self._names.values()}:
            with locked(self._folder):
                self._scan()
        return tuple(key for name, key in self._names.items() if name[0] == tenant)

    def at_hand(self) -> bool:
        """Whether the folder is there now, to be read and written."""
        return os.access(self._folder, os.R_OK | os.W_OK | os.X_OK)

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
        file = self._files.get(key.key_id)
        if file is None:
            file = self._files[key.key_id] = str(self._path(key.key_id))
        # Asked for every record, and a Path takes ten times as long to ask.
        return not os.path.exists(file) and self._folder.is_dir()  # noqa: PTH110

    def _scan(self) -> None:
        """Read what came and forget what went: there may be tens of thousands of files. Of two of a name the last holds."""
        here = {file.removesuffix(".json") for file in os.listdir(self._folder) if file.endswith(".json")}  # noqa: PTH208
        names = {name: key for name, key in self._names.items() if key.key_id in here}
        known = {key.key_id for key in names.values()}
        if here == known == {key.key_id for key in self._names.values()}:
            return
        for stem in sorted(here - known):
            name, key = self._read(self._folder / f"{stem}.json")
            if name not in names or names[name].key_id < stem:
                names[name] = key
        self._names = names
        self.changes += 1

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
