"""The `palimpsest` command: it explains itself, administers a real database, and names a mistake in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click
from click.types import FloatParamType

import policies
from gateway.cli import palimpsest
from gateway.registry import PREFIX, Registry
from gateway.settings import DatabaseUrl
from tests.engine.small import TINY
from tests.gateway.commanding import CommandLine, Done, command_line
from tests.gateway.housed import tiny
from tests.gateway.served import environ
from tests.postgres_fixtures import Database

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """`palimpsest` with no setting but a home of its own."""
    return command_line(monkeypatch, capsys, tmp_path / "home")


@pytest.fixture
def administrator(command: CommandLine, database: Database) -> CommandLine:
    """The command with a database that somebody else runs."""
    command.set(database_url=database.app_url, reader_url=database.reader_url)
    return command


@pytest.fixture
def registry(database: Database) -> Iterator[Registry]:
    """What the commands have done, seen from the gateway."""
    made = Registry(DatabaseUrl(database.app_url))
    yield made
    made.close()


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the tree with the words that call it, groups included."""
    for name, member in group.commands.items():
        yield (*path, name), member
        if isinstance(member, click.Group):
            yield from commands(member, (*path, name))


TREE = dict(commands(palimpsest))


def assert_one_line(done: Done, *words: str) -> None:
    """The command failed, and said why in one line on standard error."""
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1 and all(word in done.err for word in words), done.err


NUMBERS = [
    pytest.param(option, id=f"{' '.join(words)} {option.opts[0]}")
    for words, each in TREE.items()
    for option in each.params
    if isinstance(option.type, FloatParamType)
]


@pytest.mark.parametrize("text", ["nan", "inf"])
@pytest.mark.parametrize("option", NUMBERS)
def test_no_option_takes_what_is_no_number(option: click.Parameter, text: str) -> None:
    """NaN, which is neither below nor above any range, and infinity are refused wherever a number is asked for."""
    with pytest.raises(click.BadParameter):
        option.type.convert(text, option, None)


@pytest.mark.parametrize("words", [(), *TREE], ids=" ".join)
def test_every_command_explains_itself(command: CommandLine, words: tuple[str, ...]) -> None:
    """--help ends with 0, shows the usage and no bound that is none; -h is the same."""
    done = command(*words, "--help")
    assert done.status == 0 and f"Usage: {' '.join(('palimpsest', *words))} " in done.out and "None" not in done.out
    assert command(*words, "-h") == done


@pytest.mark.parametrize("words", [(), *TREE], ids=" ".join)
def test_every_command_shows_an_example(command: CommandLine, words: tuple[str, ...]) -> None:
    """Every command and group shows how it is called, and every option says what it is for."""
    found = TREE[words] if words else palimpsest
    options = [each for each in found.params if isinstance(each, click.Option)]
    assert found.help and all(option.help for option in options)
    told = command(*words, "--help").out.partition("─╯")[2]
    assert "Example" in told and " ".join(("palimpsest", *words)) in told.partition("Example")[2]


def outside(*arguments: str, **settings: str) -> Done:
    """`python -m gateway` in a process of its own."""
    called = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(called, cwd=ROOT, env=environ(**settings), capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def test_the_module_is_the_command() -> None:
    """`python -m gateway` is `palimpsest`, and needs no setting to say what it is."""
    done = outside("--version")
    assert (done.status, done.err) == (0, "") and done.out.startswith("palimpsest, version ")


@pytest.mark.parametrize("module", ["gateway", "audit"])
def test_an_interrupt_while_a_command_is_loaded_is_quiet(module: str) -> None:
    """Ctrl-C before a command has begun is status 130 and no traceback."""
    called = [sys.executable, "-X", "importtime", "-m", module, "--help"]  # tells on standard error what it has loaded
    pipe = subprocess.PIPE
    with subprocess.Popen(called, cwd=ROOT, env=environ(), stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "cryptography" in line)
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "")
    assert "Traceback" not in said


@pytest.mark.parametrize(("module", "status"), [("gateway", 1), ("audit", 70)])
def test_a_python_without_what_is_needed_is_one_line(module: str, status: int) -> None:
    """The wrong interpreter is told what it lacks; of the verifier that is no verdict, which status 1 would be."""
    called = [sys.executable, "-S", "-m", module, "--help"]
    done = subprocess.run(called, cwd=ROOT, env=environ(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1) and "No module named" in done.stderr


@pytest.mark.timeout(180)
def test_a_mistake_has_no_traceback(tmp_path: Path) -> None:
    """From outside too a setting that cannot be used is one line on standard error and status 1."""
    home = str(tmp_path / "home")
    assert_one_line(outside("tenants", "list", home=home, port="many"), "palimpsest: PALIMPSEST_PORT='many'", "0 to 65535")
    nowhere = str(tmp_path / "nowhere")
    done = outside("serve", home=home, checkpoint=nowhere, port="0")
    assert_one_line(done, "point PALIMPSEST_CHECKPOINT at a checkpoint folder")
    assert not Path(home).exists()


def test_tenants_are_made_and_listed(administrator: CommandLine, registry: Registry) -> None:
    """What was made is named on standard output and listed one a line."""
    assert administrator("tenants", "list") == Done(0, "", "")
    assert administrator("tenants", "create", "beta") == Done(0, "beta\n", "")
    assert administrator("tenants", "create", "acme").status == 0
    assert administrator("tenants", "list").out == "acme\nbeta\n"
    assert registry.tenants() == ["acme", "beta"]


def test_a_key_is_made_listed_and_revoked(administrator: CommandLine, registry: Registry) -> None:
    """The key alone is on standard output; its id is on standard error and, whole, in the list; revoked it opens nothing."""
    administrator("tenants", "create", "acme")
    made = administrator("keys", "create", "--tenant", "acme", "--label", "laptop [/] of ö")
    key = made.out.rstrip("\n")
    subject = registry.find(key)
    assert made.status == 0 and key.startswith(PREFIX) and made.out == f"{key}\n"
    assert subject is not None and made.err == f"key {subject.caller} of tenant acme\n"
    row = next(line for line in administrator("keys", "list").out.splitlines() if subject.caller in line)
    assert "laptop [/] of ö" in row and "acme" in row and key not in row
    assert administrator("keys", "revoke", subject.caller) == Done(0, f"revoked {subject.caller}\n", "")
    assert registry.find(key) is None
    revoked = registry.keys()[0].revoked_at
    assert revoked is not None and f"{revoked:%Y-%m-%d %H:%M}" in administrator("keys", "list", "--tenant", "acme").out
    assert subject.caller not in administrator("keys", "list", "--tenant", "system").out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("keys create --tenant nobody", "palimpsest tenants create"),
        ("keys revoke 01936f5e-0000-7000-8000-000000000001", "palimpsest keys list"),
        ("keys rotate 01936f5e-0000-7000-8000-000000000001", "palimpsest keys list"),
        ("tenants create Acme", "use 1 to 63 of a-z 0-9"),
        ("tenants create system", "is the log of global acts"),
        ("tenants create acme", "exists already"),
        ("keys create --tenant acme --label \udcff", "printable text"),
        ("keys create --tenant \udcff", "use 1 to 63 of a-z 0-9"),
        ("keys list --tenant \udcff", "there is no tenant"),
        ("keys list --tenant nobody", "palimpsest tenants create"),
        ("users list --tenant nobody", "palimpsest tenants create"),
        ("budgets show --tenant nobody", "palimpsest tenants create"),
        ("audit export --tenant nobody --out unused --reason r", "has no records"),
        ("audit export --tenant \udcff --out unused --reason r", "use 1 to 63 of a-z 0-9"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(administrator: CommandLine, arguments: str, word: str) -> None:
    """An act that cannot be done ends with 1 and leaves everything as it was."""
    administrator("tenants", "create", "acme")
    assert_one_line(administrator(*arguments.split()), "palimpsest: ", word)
    assert administrator("tenants", "list").out == "acme\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "tenants create beta",
        "keys create --tenant acme",
        "users create ada --tenant fresh --role operator --password-stdin",
        "audit keys --tenant acme",
        "audit rotate --tenant acme",
        "audit export --tenant acme --out unused --reason r",
    ],
)
def test_a_command_with_other_keys_than_the_gateways_makes_none(
    administrator: CommandLine, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: str
) -> None:
    """New keys under the name of a log that others signed would make all that follows look forged: nothing is made."""
    for tenant in ("acme", "fresh"):
        assert administrator("tenants", "create", tenant).status == 0
    assert administrator("keys", "create", "--tenant", "acme").status == 0
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    administrator.set(home=str(elsewhere))
    done = administrator(*arguments.split(), typed="correct horse battery\n" * 2)
    assert (done.status, done.out) == (1, "") and "set PALIMPSEST_KEYS" in done.err, done
    assert (registry.tenants(), len(registry.keys())) == (["acme", "fresh"], 1)
    assert not (elsewhere / "keys" / "signers").exists()


@pytest.mark.parametrize("words", ["eval", "bench modes --busy", "train"])
def test_a_folder_without_a_checkpoint_is_refused_by_its_option(command: CommandLine, tmp_path: Path, words: str) -> None:
    """Where an option names a checkpoint the answer names the option, and not a setting that nobody gave."""
    option = "--from" if words.startswith("train") else "--checkpoint"
    done = command(*words.split(), option, str(tmp_path))
    assert done.status == 2 and option in done.err and "PALIMPSEST_CHECKPOINT" not in done.err


@pytest.mark.parametrize("words", ["", "bundle --origin acme", "bundle --origin acme --vkey k --nonsense"])
def test_a_verifier_that_is_used_wrongly_gives_no_verdict(command: CommandLine, words: str) -> None:
    """What click refuses of `audit verify` is status 64, as of `python -m audit verify`, and not its `malformed`."""
    assert command("audit", "verify", *words.split()).status == 64


@pytest.mark.parametrize("words", ["bench kernels --json", "eval --json", "eval --plot", "policy show --tenant acme --json"])
def test_a_file_that_could_not_be_written_is_told_before_the_work(command: CommandLine, words: str) -> None:
    """A place that takes no file is refused by its option, not when hours of figures are to be kept there."""
    done = command(*words.split(), "/proc/figures")
    assert done.status == 2 and "cannot be written" in " ".join(done.err.replace("│", " ").split())


def test_a_file_that_can_be_written_is_left_alone_until_then(command: CommandLine, tmp_path: Path) -> None:
    """A command that ends early leaves no empty file, and of an older one all that it held."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text("{}")
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{")
    done = command("eval", "--checkpoint", str(tmp_path / "base"), "--json", str(old), "--plot", str(new), "--threads", "1")
    assert done.status != 0 and old.read_text() == "{}" and not new.exists()


@pytest.mark.parametrize("place", ["no/such/folder.json", "/proc"])
def test_a_demo_that_could_not_be_written_down_is_not_begun(command: CommandLine, place: str) -> None:
    """A folder, or a file in one that is not there, is refused before the questions are asked, not after."""
    done = command("demo", "--json", place)
    assert (done.status, done.out) == (2, "") and place.removesuffix("/folder.json") in done.err
    assert not Path(os.environ["PALIMPSEST_HOME"]).exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("DATABASE_URL", "acme", "PALIMPSEST_DATABASE_URL: give a URL such as postgresql://user:password@host/database"),
        ("DATABASE_URL", "postgresql://u:p[w@h/db", "PALIMPSEST_DATABASE_URL: give a URL such as"),
        ("BASE_URL", "https://[", "PALIMPSEST_BASE_URL='https://[': give the address that people use"),
        ("READER_URL", "postgresql://gov_reader@h/d", "PALIMPSEST_DATABASE_URL is not set"),
        ("ORIGIN", "my log", "PALIMPSEST_ORIGIN='my log': a log's name has no spaces"),
        ("AUDIT_STALL_SECONDS", "never", "PALIMPSEST_AUDIT_STALL_SECONDS='never': give a number of seconds"),
    ],
)
def test_a_bad_setting_is_one_line(command: CommandLine, name: str, text: str, words: str) -> None:
    """A setting that cannot be used is named before anything is started."""
    command.set(**{name: text})
    assert_one_line(command("tenants", "list"), f"palimpsest: {words}")
    assert not Path(os.environ["PALIMPSEST_HOME"]).exists()


def test_a_database_that_is_not_there_is_one_line(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached is said in one line, without the password."""
    for name in ("DATABASE_URL", "READER_URL"):
        monkeypatch.setenv(f"PALIMPSEST_{name}", "postgresql://gov_app:hunter2@127.0.0.1:1/palimpsest")
    done = command("tenants", "list")
    assert_one_line(done, "palimpsest: the database cannot be used", "port 1")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("group", ["audit", "policy"])
def test_a_replay_that_did_not_run_has_no_verdict(command: CommandLine, group: str) -> None:
    """Where 1 says that a record is not reproduced, a setting that cannot be used ends with another status, in one line."""
    command.set(database_url="postgresql://gov_app@127.0.0.1:1/palimpsest", reader_url="postgresql://gov_app@127.0.0.1:1/x")
    asked = ("--reason", "a test", "01936f5e-0000-7000-8000-000000000001") if group == "audit" else ()
    done = command(group, "replay", "--tenant", "acme", *asked)
    assert (done.status, done.out, done.err.count("\n")) == (64, "", 1) and "cannot be used" in done.err


def test_a_database_without_our_schema_is_one_line(
    administrator: CommandLine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was never migrated is answered with the setting that migrates it."""
    elsewhere = database.superuser_url.replace(database.name, "postgres")
    monkeypatch.setenv("PALIMPSEST_DATABASE_URL", elsewhere)
    assert_one_line(administrator("tenants", "list"), "set PALIMPSEST_OWNER_URL once")


def test_policy_check_knows_the_baseline(command: CommandLine) -> None:
    """Without a file the shipped baseline is checked: its name, digest and modes are printed."""
    baseline = policies.load(policies.BASELINE)
    done = command("policy", "check")
    assert (done.status, done.err) == (0, "")
    assert bytes(baseline.digest).hex() in done.out and "ar, diffusion, linear_spec, quadratic_spec" in done.out
    assert command("policy", "check", str(policies.BASELINE)) == done


def test_policy_check_says_which_names_it_did_not_check(command: CommandLine, tmp_path: Path) -> None:
    """A model that nobody serves is told once the settings name one; names that were not checked are said to be unchecked."""
    head = 'schema = "palimpsest.policy/1"\ntenant = "*"\ninherit = "baseline"\n'
    file = tmp_path / "named.toml"
    file.write_text(head + '[[rules]]\nid = "r"\nphase = "admit"\naction = "block"\nwhen = { model = ["gpt"] }\n')
    assert "models and groups were not checked" in command("policy", "check", str(file)).out
    command.set(checkpoint=str(TINY))
    assert_one_line(command("policy", "check", str(file)), "named.toml:8: rules.r.when.model", "known: palimpsest-tiny")
    file.write_text(file.read_text().replace("gpt", tiny().name))
    assert "names of groups were not checked" in command("policy", "check", str(file)).out


def test_policy_check_refuses_in_one_line(command: CommandLine, tmp_path: Path) -> None:
    """A document with an unknown key, or none at all, ends with 1 and a line that names the file."""
    bad = tmp_path / "bad.toml"
    bad.write_text(policies.BASELINE.read_text().replace("[limits]", "[limits]\nmax_jokes = 3"))
    assert_one_line(command("policy", "check", str(bad)), "bad.toml", "max_jokes")
    assert_one_line(command("policy", "check", str(tmp_path / "none.toml")), "none.toml")
