"""Settings: everything the gateway reads from its environment, read once.

Every setting is a PALIMPSEST_* variable; none is required. With no database named, the embedded
PostgreSQL serves all three roles; with one named, the reader's URL must be named too, because
the gateway's own role may not read the log.

    PALIMPSEST_HOME=./var  PALIMPSEST_PORT=8017  palimpsest serve
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NewType
from urllib.parse import quote, urlsplit

from engine.request import Numeric

DatabaseUrl = NewType("DatabaseUrl", str)
"""A libpq URI, `postgresql://user:password@host/database`; libpq reads it as it stands."""

_PREFIX = "PALIMPSEST_"
_TINY = Path(__file__).resolve().parent.parent / "engine" / "tiny"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_PLACE: Final = re.compile(
    r"postgresql://(([^@/%]|%[0-9a-fA-F]{2})*@)?"  # a role and its password
    r"(\[[0-9a-fA-F:.]+\]|[^@/:?,%\[\]]*)(:[0-9]{1,5})?"  # one host and its port
    r"(/([^@?%]|%[0-9a-fA-F]{2})*(\?.*)?|(\?[^@]*)?)"  # a database, and options
)
"""URLs that libpq and SQLAlchemy read alike, as both get them: where they part, at unescaped signs of a password, one of them
takes a part of it for a host, a port or a database, and says so."""
ENCODING: Final = "client_encoding=utf8"
"""Of every session: neither a role's setting nor PGCLIENTENCODING may take letters away from us."""
_SESSION: Final = "-c timezone=UTC -c datestyle=ISO"
"""Times are told in UTC, and in the form that the driver reads, whatever the server's administrator prefers."""
NAMES: Final = frozenset({
    "HOME", "KEYS", "DATABASE_URL", "READER_URL", "OWNER_URL", "HOST", "PORT", "BASE_URL", "ORIGIN", "CHECKPOINT", "NUMERIC",
    "DEVICE", "MAX_GENERATIONS", "AUDIT_STALL_SECONDS", "AUDIT_QUEUE_RECORDS", "AUDIT_QUEUE_BYTES", "SHIP_TO", "WITNESSES",
    "WEBHOOKS", "METRICS_TOKEN",
})  # fmt: skip
"""Every setting, without its prefix."""
_OF_CLIENTS: Final = frozenset({"KEY", "API_KEY"})
"""Variables in which coding tools keep a key of ours (CLIENTS.md), perhaps in the same shell."""


class SettingsError(ValueError):
    """A PALIMPSEST_* variable cannot be used; the message names it and says what would do."""


@dataclass(frozen=True, slots=True)
class ExternalDatabase:
    """A PostgreSQL 15+ that somebody else runs: `app` and `reader` to serve, `owner` to migrate."""

    app: DatabaseUrl = field(repr=False)
    reader: DatabaseUrl = field(repr=False)
    owner: DatabaseUrl | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's settings. Paths are absolute, times in seconds, `queue_bytes` in bytes.

    `database` is None when the embedded PostgreSQL is to serve; `max_generations` may wait or run at once.
    """

    home: Path
    keys: Path
    database: ExternalDatabase | None
    host: str
    port: int
    origin: str
    checkpoint: Path
    numeric: Numeric
    device: str
    """Where the model runs, as torch names it."""
    max_generations: int
    audit_stall_seconds: float
    queue_records: int
    queue_bytes: int
    ship_to: tuple[str, ...]
    """Places outside the database to which every checkpoint goes, as `audit.destinations` spells them."""
    witnesses: tuple[str, ...]
    """Witnesses that every log is shown to, as `audit.cosigning` spells them."""
    webhooks: tuple[str, ...]
    """URLs that are told of approvals."""
    base_url: str
    """How people reach this gateway; with https, cookies are for it alone."""
    metrics_token: str = field(repr=False)
    """What `GET /metrics` takes; empty where it is not served."""

    @property
    def model(self) -> str:
        """The name by which clients and policies call the model."""
        return f"palimpsest-{self.checkpoint.name}"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check every setting; raises SettingsError at the first that cannot be used, or that is none."""
        given = {name.removeprefix(_PREFIX): text.strip() for name, text in environ.items() if name.startswith(_PREFIX)}
        _require_known(given)
        home = _path(given, "HOME", Path("var"))
        return cls(
            home=home,
            keys=_path(given, "KEYS", home / "keys"),
            database=_database(given),
            host=given.get("HOST") or "127.0.0.1",
            port=_whole(given, "PORT", 8017, least=0, most=65535),
            origin=_origin(given.get("ORIGIN") or "palimpsest.local"),
            checkpoint=_path(given, "CHECKPOINT", _TINY),
            numeric=_numeric(given),
            device=device_name(given.get("DEVICE") or "cpu"),
            max_generations=_whole(given, "MAX_GENERATIONS", 512, least=1),
            audit_stall_seconds=_seconds(given, "AUDIT_STALL_SECONDS", 5.0),
            queue_records=_whole(given, "AUDIT_QUEUE_RECORDS", 8192, least=1),
            queue_bytes=_whole(given, "AUDIT_QUEUE_BYTES", 64 * 1024 * 1024, least=1),
            ship_to=tuple(given.get("SHIP_TO", "").split()),
            witnesses=tuple(given.get("WITNESSES", "").split()),
            webhooks=tuple(given.get("WEBHOOKS", "").split()),
            base_url=_base_url(given),
            metrics_token=_metrics_token(given.get("METRICS_TOKEN", "")),
        )


def _require_known(given: Mapping[str, str]) -> None:
    """A slip of the pen must not leave a default in force."""
    for name in sorted(given.keys() - NAMES - _OF_CLIENTS):
        near = difflib.get_close_matches(name, sorted(NAMES), n=1)
        meant = f"did you mean {_PREFIX}{near[0]}?" if near else f"known: {', '.join(sorted(NAMES))}"
        raise SettingsError(f"{_PREFIX}{name} is no setting; {meant}")


def device_name(text: str) -> str:
    """A device as torch names it; raises SettingsError for anything else."""
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,2})?", text):
        raise SettingsError(f"{_PREFIX}DEVICE: {text!r} names no device: give cpu, cuda, or one by its number such as cuda:1")
    return text


def sqlalchemy_url(url: DatabaseUrl, options: str = "") -> str:
    """The same database spelled for SQLAlchemy with the psycopg driver; `options` of its sessions go behind the URL's own."""
    return "postgresql+psycopg://" + (_with_options(url, options) if options else url).partition("://")[2]


def _with_options(url: str, options: str) -> str:
    """An unescaped `?` of a password is none that begins the query."""
    begins = url.find("?", url.find("@") if re.match("[^@/]*//[^@/]*@", url) else 0)
    place, query = (url, "") if begins < 0 else (url[:begins], url[begins + 1 :])
    given = [each for each in query.split("&") if each]
    own = [each.removeprefix("options=") for each in given if each.startswith("options=")]
    others = [each for each in given if not each.startswith(("options=", ENCODING.partition("=")[0]))]
    return f"{place}?{'&'.join((*others, ENCODING, 'options=' + '%20'.join((*own, quote(options)))))}"


def _path(given: Mapping[str, str], name: str, default: Path) -> Path:
    return Path(given.get(name) or default).expanduser().resolve()


def _whole(given: Mapping[str, str], name: str, default: int, *, least: int, most: int = 2**62) -> int:
    text = given.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        upper = "" if most == 2**62 else f" to {most}"
        raise SettingsError(f"{_PREFIX}{name}={text!r}: give a whole number from {least}{upper}")
    return int(text)


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 3600.0:
        raise SettingsError(f"{_PREFIX}{name}={text!r}: give a number of seconds above 0 and below 3600")
    return seconds


def _base_url(given: Mapping[str, str]) -> str:
    """Empty unless it is said: then people come by plain http, straight to this process."""
    text = (given.get("BASE_URL") or "").rstrip("/")
    if text and (_scheme(text) not in ("http", "https") or not urlsplit(text).netloc):
        raise SettingsError(f"{_PREFIX}BASE_URL={text!r}: give the address that people use, such as https://palimpsest.example")
    return text


def _metrics_token(text: str) -> str:
    """Whoever can ask has unlimited tries, so a short one is no secret; the value is never repeated."""
    if text and not re.fullmatch(r"[!-~]{16,}", text):
        raise SettingsError(f"{_PREFIX}METRICS_TOKEN: give 16 or more characters of ASCII and no space: `openssl rand -hex 24`")
    return text


def _scheme(text: str) -> str:
    """The scheme of a URL; empty for what is none, such as one with an unescaped bracket in its password."""
    try:
        return urlsplit(text).scheme
    except ValueError:
        return ""


def _numeric(given: Mapping[str, str]) -> Numeric:
    text = given.get("NUMERIC") or Numeric.STRICT.value
    if text not in list(Numeric):
        raise SettingsError(f"{_PREFIX}NUMERIC={text!r}: give one of {', '.join(Numeric)}")
    return Numeric(text)


def _origin(text: str) -> str:
    """An origin is the first line of every checkpoint, so it follows the signed-note rules for names."""
    if "+" in text or any(char.isspace() or not char.isprintable() for char in text):
        raise SettingsError(f"{_PREFIX}ORIGIN={text!r}: a log's name has no spaces and no '+'")
    return text


def _database(given: Mapping[str, str]) -> ExternalDatabase | None:
    app, reader, owner = (_url(given, name) for name in ("DATABASE_URL", "READER_URL", "OWNER_URL"))
    if app is None:
        if reader is not None or owner is not None:
            raise SettingsError(
                f"{_PREFIX}DATABASE_URL is not set but READER_URL or OWNER_URL is: "
                "set it too, or unset them all to use the embedded PostgreSQL"
            )
        return None
    if reader is None:
        raise SettingsError(
            f"{_PREFIX}DATABASE_URL is set without {_PREFIX}READER_URL: "
            "the role gov_app may not read the log, so name a login of gov_reader as well"
        )
    return ExternalDatabase(app=app, reader=reader, owner=owner)


def _url(given: Mapping[str, str], name: str) -> DatabaseUrl | None:
    text = given.get(name)
    if not text:
        return None
    url = DatabaseUrl("postgresql://" + text.partition("://")[2])
    if _scheme(text) not in _SCHEMES or not _PLACE.fullmatch(url):
        # The value may hold a password, so only its name is repeated.
        raise SettingsError(
            f"{_PREFIX}{name}: give a URL such as postgresql://user:password@host/database, a password's own signs as %XX"
        )
    return DatabaseUrl(_with_options(url, _SESSION))
