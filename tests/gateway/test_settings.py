"""Settings are read whole, checked, and refuse with the name of the variable."""

import inspect
import re
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from gateway import settings as settings_file
from gateway.settings import NAMES, DatabaseUrl, Settings, SettingsError, sqlalchemy_url

README = Path(settings_file.__file__).with_name("README.md")


def test_nothing_is_required(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty environment gives the documented defaults, with absolute paths."""
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({})
    assert settings.home == tmp_path / "var"
    assert settings.keys == tmp_path / "var" / "keys"
    assert settings.database is None
    assert settings.origin == "palimpsest.local"
    assert settings.audit_stall_seconds == 5.0
    assert settings.checkpoint.parts[-2:] == ("engine", "tiny")
    assert settings.device == "cpu" and Settings.read({"PALIMPSEST_DEVICE": "cuda:1"}).device == "cuda:1"


def test_only_prefixed_variables_are_read() -> None:
    """HOME, HOST or PORT of the surrounding shell are none of ours."""
    assert Settings.read({"HOME": "/nowhere", "HOST": "::", "PORT": "1", "KEYS": "/k"}) == Settings.read({})


def test_keys_follow_home(tmp_path: Path) -> None:
    """The keys live below PALIMPSEST_HOME unless they are given a place of their own."""
    assert Settings.read({"PALIMPSEST_HOME": str(tmp_path)}).keys == tmp_path / "keys"
    moved = Settings.read({"PALIMPSEST_HOME": str(tmp_path), "PALIMPSEST_KEYS": str(tmp_path / "k")})
    assert moved.keys == tmp_path / "k"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PALIMPSEST_PORT", "eighty"),
        ("PALIMPSEST_PORT", "65536"),
        ("PALIMPSEST_AUDIT_STALL_SECONDS", "0"),
        ("PALIMPSEST_AUDIT_STALL_SECONDS", "nan"),
        ("PALIMPSEST_AUDIT_QUEUE_RECORDS", "0"),
        ("PALIMPSEST_ORIGIN", "two words"),
        ("PALIMPSEST_ORIGIN", "a+b"),
        ("PALIMPSEST_DATABASE_URL", "mysql://x"),
        ("PALIMPSEST_DEVICE", "gpu"),
        ("PALIMPSEST_DEVICE", "cuda:-1"),
        ("PALIMPSEST_METRICS_TOKEN", "fifteen-letters"),
        ("PALIMPSEST_METRICS_TOKEN", "sixteen characters and spaces"),
        ("PALIMPSEST_BASE_URL", "palimpsest.example"),
        ("PALIMPSEST_BASE_URL", "javascript:alert(1)"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, text: str) -> None:
    """A value that cannot be used raises SettingsError naming its variable."""
    with pytest.raises(SettingsError, match=name):
        Settings.read({name: text})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PRT", "did you mean PALIMPSEST_PORT?"),
        ("DATABASEURL", "did you mean PALIMPSEST_DATABASE_URL?"),
        ("Q", "known: AUDIT_"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(name: str, words: str) -> None:
    """A misspelt name leaves no default in force: it is named, with the setting that was meant, whatever its value."""
    for text in ("1", ""):
        with pytest.raises(SettingsError) as refusal:
            Settings.read({f"PALIMPSEST_{name}": text})
        assert str(refusal.value).startswith(f"PALIMPSEST_{name} is no setting; ") and words in str(refusal.value)


def test_every_name_is_read_and_told_of() -> None:
    """The known names are exactly those that are read, and each stands in the table of the README."""
    source = inspect.getsource(settings_file)
    assert set(re.findall(r"given(?:\.get\(|, )\"([A-Z_]+)\"", source)) | {"DATABASE_URL", "READER_URL", "OWNER_URL"} == NAMES
    rows = "".join(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `PALIMPSEST_"))
    assert {name for name in NAMES if f"`PALIMPSEST_{name}`" not in rows} == {"READER_URL", "OWNER_URL", "AUDIT_QUEUE_BYTES"}


def test_the_keys_of_coding_tools_are_none_of_ours() -> None:
    """The variables that CLIENTS.md has tools read their key from may stand in the same shell."""
    assert Settings.read({"PALIMPSEST_KEY": "k", "PALIMPSEST_API_KEY": "k"}) == Settings.read({})


def test_an_external_database_needs_its_reader() -> None:
    """A database URL without the reader's is refused, and so is a reader's without the database."""
    with pytest.raises(SettingsError, match="READER_URL"):
        Settings.read({"PALIMPSEST_DATABASE_URL": "postgresql://a@h/d"})
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        Settings.read({"PALIMPSEST_READER_URL": "postgresql://a@h/d"})


def test_urls_are_normalised_and_passwords_stay_out_of_repr() -> None:
    """Each accepted scheme becomes libpq's own, and repr() never shows a password."""
    settings = Settings.read(
        {
            "PALIMPSEST_DATABASE_URL": "postgresql+psycopg://gov_app:secret@h/d",
            "PALIMPSEST_READER_URL": "postgres://gov_reader:secret@h/d",
        }
    )
    assert settings.database is not None
    assert settings.database.app.startswith("postgresql://gov_app:secret@h/d?client_encoding=utf8&options=")
    assert settings.database.reader.startswith("postgresql://gov_reader:secret@h/d?client_encoding=utf8&options=")
    assert settings.database.owner is None
    assert "secret" not in repr(settings)


def test_a_bad_url_never_repeats_its_password() -> None:
    """The refusal of a URL does not print the URL."""
    with pytest.raises(SettingsError) as refusal:
        Settings.read({"PALIMPSEST_DATABASE_URL": "oracle://u:secret@h/d"})
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "place", ["se/cret@h/d", "12/cret@h/d", "se@cret@h/d", "s%zz@h/d", "se[cret@h/d", "p@h:port/d", "p@h:1,g:2/d"]
)
def test_a_url_that_is_read_in_two_ways_is_refused(place: str) -> None:
    """SQLAlchemy and libpq must both find the same place in a URL, lest one of them tells a part of a password as its host."""
    with pytest.raises(SettingsError, match="PALIMPSEST_OWNER_URL: give a URL"):
        Settings.read({"PALIMPSEST_OWNER_URL": f"postgresql://u:{place}"})


@pytest.mark.parametrize(
    "place",
    [
        "h/d",
        "u:p@h:5432/d?sslmode=require",
        "u:p%2F%40@[::1]:5/d",
        "u@/d?host=/run",
        "/d",
        "u:a?b#c:d@h/d",
        "h/d?options=-c%20jit%3Doff",
        "h/d?client_encoding=latin1",
    ],
)
def test_a_url_that_is_read_in_one_way_is_taken(place: str) -> None:
    """Sockets, addresses in brackets, options and escaped signs are as good as names; our own options go behind."""
    url = f"postgresql://{place}"
    database = Settings.read({"PALIMPSEST_DATABASE_URL": url, "PALIMPSEST_READER_URL": url}).database
    assert database is not None
    _, options = PGDialect_psycopg().create_connect_args(make_url(sqlalchemy_url(database.app)))  # type: ignore[no-untyped-call]
    assert {name: str(text) for name, text in options.items()} == conninfo_to_dict(database.app)
    own = conninfo_to_dict(url)
    assert options.pop("options") == f"{own.pop('options', '')} -c timezone=UTC -c datestyle=ISO".strip()
    assert {name: str(text) for name, text in options.items()} == own | {"client_encoding": "utf8"}


def test_a_metrics_token_is_never_shown() -> None:
    """Neither repr() nor the refusal of one that will not do repeats it."""
    assert "long-enough-a-secret" not in repr(Settings.read({"PALIMPSEST_METRICS_TOKEN": "long-enough-a-secret"}))
    with pytest.raises(SettingsError) as refusal:
        Settings.read({"PALIMPSEST_METRICS_TOKEN": "secret"})
    assert "secret" not in str(refusal.value)


def test_the_sqlalchemy_spelling_keeps_all_but_the_scheme() -> None:
    """sqlalchemy_url() changes only the scheme."""
    assert sqlalchemy_url(DatabaseUrl("postgresql://u:p@/d?host=/s")) == "postgresql+psycopg://u:p@/d?host=/s"
