"""The scanner of lines: every key of any document is found where it stands."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.places import line_of, lines_of, named
from policies.reading import ROOM
from tests.policies import drawn

TEXT = """# a comment with [brackets] and = signs
title = "a # no comment"   # one
"quoted key" = 1
a.b.c = { x = 1, y = [ "]", '}' ] }
long = \"\"\"
[not.a.table]
not = "a key"
\"\"\"
raw = '''
also = "not"
'''
list = [
    1,  # one
    { id = "named", when = { risk = ["high"] } },
    [2, 3],
]

[table]
key = 1979-05-27 07:32:00

  [ table . "inner" ]
  key = true

[[rules]]
id = "first"
[rules.when]
risk = ["low"]

[[rules]]
id = "second"
when.risk = ["low"]

[[rules.deep]]
x = 1
"""
EXPECTED = {
    "title": 2,
    "quoted key": 3,
    "a": 4,
    "a.b": 4,
    "a.b.c": 4,
    "a.b.c.x": 4,
    "a.b.c.y[1]": 4,
    "long": 5,
    "raw": 9,
    "list": 12,
    "list[0]": 13,
    "list.named": 14,
    "list.named.when.risk": 14,
    "list[2][1]": 15,
    "table": 18,
    "table.key": 19,
    "table.inner": 21,
    "table.inner.key": 22,
    "rules": 24,
    "rules.first": 24,
    "rules.first.id": 25,
    "rules.first.when": 26,
    "rules.first.when.risk": 27,
    "rules.second": 29,
    "rules.second.when.risk": 31,
    "rules.second.deep[0].x": 34,
}


def test_every_kind_of_key_is_found() -> None:
    """Dotted, quoted, inline, nested and listed keys have their lines; what stands in texts and comments is no key."""
    lines = lines_of(TEXT, tomllib.loads(TEXT))
    assert {key: lines.get(key) for key in EXPECTED} == EXPECTED
    assert not [key for key in lines if "not" in key or "also" in key]


def test_a_key_that_is_not_written_has_the_line_of_what_is_around_it() -> None:
    """A default is placed at its table; what no table is around has no line."""
    lines = lines_of(TEXT, tomllib.loads(TEXT))
    assert line_of(lines, "rules.first.when.metric") == 26
    assert line_of(lines, "list[2][9]") == 15
    assert line_of(lines, "nothing.at.all") is None


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.toml")), ids=lambda path: path.name)
def test_every_key_of_the_shipped_documents_has_its_line(path: Path) -> None:
    """Whatever a shipped document says, the line that is found holds the last part of the key."""
    text = path.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    lines, written = lines_of(text, tables), text.splitlines()
    keys = list(_keys(tables, ""))
    assert len(keys) > 10
    for key in keys:
        assert key.rpartition(".")[2] in written[lines[named(key, tables)] - 1]


def _keys(value: object, path: str) -> list[str]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in (f"{path}{key}", *_keys(inner, f"{path}{key}."))]
    if isinstance(value, list):
        return [found for index, inner in enumerate(value) for found in _keys(inner, f"{path[:-1]}[{index}].")]
    return []


@drawn.calm
@given(st.text(st.sampled_from("ab=[]{}.,\"'# \n\\1"), max_size=40))
def test_the_scanner_ends_on_any_text(text: str) -> None:
    """Whatever the text, TOML or not, the scanner comes to an end; on TOML it finds every key of the top."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(tables) <= set(lines_of(text, {})) | {key for key in tables if set(key) & set(".[]")}
