"""Globs and paths: what they stand for, whatever the case, at any depth, and in bounded time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import called
from policies.globs import matches_all_of, name_matcher, path_matcher, reaches_all_of
from policies.paths import BYTES_MOST, CANDIDATES_MOST, candidates
from tests.policies import drawn

NAMES = [
    ("bash", "bash", True),
    ("Bash", "bASH", True),
    ("bash", "bash2", False),
    ("run_*", "run_", True),
    ("run_*", "rerun_x", False),
    ("*_x_*", "a_x_b", True),
    ("*a*b", "ab ab", True),
    ("*a*b", "aba", False),
    ("?", "x", True),
    ("?", "xy", False),
    ("a.b", "axb", False),
    ("*", "line\nbreak", True),
    ("tool[1]", "tool[1]", True),
]
PATHS = [
    ("*.py", "src/a.py", True),
    ("*.py", "src/a.pyc", False),
    ("/etc/**", "/etc/passwd", True),
    ("/etc/**", "/etc", True),
    ("/etc/**", "home/etc/passwd", False),
    ("etc/**", "/home/etc/passwd", True),
    ("secrets/**", "a/secrets", True),
    ("secrets/**", "a/mysecrets/b", False),
    ("**/secrets/*.key", "a/b/secrets/x.key", True),
    ("**/secrets/*.key", "secrets/x.key", True),
    ("**/secrets/*.key", "secrets/d/x.key", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "ax/b", False),
    ("a/**/b*c/**/d", "z/a/q/bxc/r/d", True),
    ("a/**/b*c/**/d", "z/a/q/bx/c/r/d", False),
    ("migrations/*", "db/migrations/1.sql", True),
    ("migrations/*", "db/migrations/x/1.sql", False),
    (".env", "app/.env", True),
    (".env", "app/x.env", False),
    ("**", "anything/at/all", True),
    ("/**", "/", True),
    ("/**", "etc", False),
    ("**", "/", True),
]


@pytest.mark.parametrize(("glob", "name", "found"), NAMES)
def test_a_name_matches_as_a_whole(glob: str, name: str, found: bool) -> None:
    """`*` is any text and `?` one character; the case does not matter, everything else does."""
    assert name_matcher((glob,))(name) is found
    assert name_matcher(("never", glob))(name) is found


@pytest.mark.parametrize(("glob", "path", "found"), PATHS)
def test_a_path_matches_by_segments(glob: str, path: str, found: bool) -> None:
    """Stars stop at `/`, `**` does not; one that does not begin with `/` matches at any depth; one line of many is enough."""
    assert path_matcher((glob,))(path) is found
    assert path_matcher((glob.upper(), "never"))(f"other\n{path}\nlast") is (found or glob == "**")


COMPOSED, APART, MIXED = "secrets/café/crème/x", "secrets/cafe\u0301/cre\u0300me/x", "Secrets/CAFÉ/cre\u0300me/x"


@pytest.mark.parametrize("glob", ["secrets/café/**", "Secrets/CAFE\u0301/**", "caf?/**", "cafe?/**"])
@pytest.mark.parametrize("path", [COMPOSED, APART, MIXED, f"../{APART}", f"cat '{APART}'"])
def test_a_path_matches_however_its_accents_are_written(glob: str, path: str) -> None:
    """What some file system takes for one name is one, in globs and in arguments; another letter is another name."""
    assert path_matcher((glob,))(called("read", json.dumps({"path": path})).paths)
    assert path_matcher((glob,))(called("read", path).paths)
    assert not path_matcher(("secrets/café/**",))(called("read", "secrets/cafè/x secrets/cafe/x").paths)


def slow_match(glob: str, text: str) -> bool:
    """The definition of a name glob, by trying every length for a star."""
    if not glob:
        return not text
    if glob[0] == "*":
        return any(slow_match(glob[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and glob[0] in ("?", text[0]) and slow_match(glob[1:], text[1:])


def slow_path(glob: list[str], path: list[str]) -> bool:
    """The definition of a path glob, segment by segment."""
    if not glob:
        return not path
    if glob == ["**"]:
        return True
    if glob[0] == "**":
        return any(slow_path(glob[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and slow_match(glob[0], path[0]) and slow_path(glob[1:], path[1:])


@drawn.calm
@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_names_match_by_definition(glob: str, name: str) -> None:
    """The compiled form finds what the definition of stars and question marks finds."""
    assert name_matcher((glob,))(name) is slow_match(glob, name)


segments = st.text("ab*", min_size=1, max_size=3).filter(lambda text: "**" not in text)


@drawn.calm
@given(
    st.lists(segments | st.just("**"), min_size=1, max_size=5),
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5),
    st.booleans(),
)
def test_paths_match_by_definition(glob: list[str], path: list[str], rooted: bool) -> None:
    """The compiled form finds what trying every number of segments for `**`, and every depth, finds."""
    starts = range(1) if rooted else range(len(path))
    expected = any(slow_path(glob, path[start:]) for start in starts)
    root = "/" if rooted else ""
    assert path_matcher((root + "/".join(glob),))(root + "/".join(path)) is expected


@pytest.mark.parametrize("glob", ["a/**/b", "**/secrets/**", "**/a/**/*a*b", "*a*a*a*a*b", "/a/**/b/**/*c", "**/a/" * 60 + "b"])
@pytest.mark.parametrize("path", ["/".join(["a"] * 2000), "/" + "a" * 4000], ids=["deep", "wide"])
def test_no_path_takes_long(glob: str, path: str) -> None:
    """A megabyte of paths made to backtrack is decided in seconds, where trying all would take hours."""
    assert path_matcher((glob,))("\n".join([path] * 256)) is False


def test_no_name_takes_long() -> None:
    """A hundred stars over thousands of characters are decided in seconds."""
    assert name_matcher(("*a" * 100 + "b",))("a" * 4000) is False


@pytest.mark.parametrize(("wide", "narrow", "covered"), [
    ("*", "x", True), ("a*", "ab", True), ("a*", "b", False), ("a*", "a*", True), ("A*", "a*", True), ("*", "a*", False),
])  # fmt: skip
def test_covering_is_claimed_only_where_it_is_certain(wide: str, narrow: str, covered: bool) -> None:
    """A glob covers itself and the plain names it matches; of other globs nothing is claimed."""
    assert matches_all_of(wide, narrow) is covered


@pytest.mark.parametrize(("wide", "narrow", "covered"), [
    ("*.py", "src/a.py", True), ("secrets/**", "secrets/a/b", True), ("secrets/*", "secrets/a", True), ("A/*", "a/*", True),
    ("secrets/*", "secrets/a/b", False), ("a*", "a/b", False), ("a?b", "a/b", False), ("/etc/*", "/etc/ssl/key", False),
    ("/etc/*", "etc/x", False), ("etc/*", "/etc/x", True), ("**", "a*", False),
    ("é/**", "e\u0301/x", True), ("e\u0301/*", "É/x", True), ("e/*", "é/x", False),
])  # fmt: skip
def test_covering_of_paths_knows_where_their_stars_stop(wide: str, narrow: str, covered: bool) -> None:
    """A glob on paths covers itself and the plain paths that it matches, at any depth where the plain one is at any."""
    assert reaches_all_of(wide, narrow) is covered


@drawn.calm
@given(
    st.lists(segments | st.just("**"), min_size=1, max_size=4),
    st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4),
    st.lists(st.text("ab", min_size=1, max_size=2), max_size=3),
    st.booleans(),
)
def test_what_is_covered_is_matched(wide: list[str], narrow: list[str], above: list[str], rooted: bool) -> None:
    """Wherever a covered path lies, the glob that covers it matches it."""
    glob, path = "/" * rooted + "/".join(wide), "/".join(narrow)
    if reaches_all_of(glob, path):
        assert path_matcher((glob,))("/".join([*above, path])) and path_matcher((glob,))("/" + "/".join([*above, path]))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("src/./a//b/../c.py", "src/a/c.py"),
        ("..\\Secrets\\KEY", "../secrets/key"),
        ("/a/../../etc/passwd", "/etc/passwd"),
        ("rm -rf '/etc/passwd';ls", "/etc/passwd"),
        ("--file=/etc/x", "/etc/x"),
        ("https://host/secrets/a", "/host/secrets/a"),
        ("$(cat .env)", ".env"),
        ("a b/c d", "a b/c d"),
        ("cat .e''nv", ".env"),
        ('cat .e""nv', ".env"),
        ("cat .e\\nv", ".env"),
        ("cat .e\\\nnv", ".env"),
        (".e\\nv", ".env"),
        ("cat $'/etc'/passwd", "/etc/passwd"),
        ("cat /et\\c/passwd", "/etc/passwd"),
        ("rm -rf.env", ".env"),
        ('cat "my disk/x" y', "my disk/x"),
        ("cat my\\ disk/x", "my disk/x"),
        ("cat my' 'disk/x", "my disk/x"),
        ("tar --file='my disk/x'", "my disk/x"),
        ("scp host:'my disk/x' .", "my disk/x"),
        ('type "C:\\Program Files\\x"', "/program files/x"),
        ("C:\\Program Files\\x", "/program files/x"),
        ("cat app/[id]/x.ts", "app/[id]/x.ts"),
        ("cat a=b,c/x", "a=b,c/x"),
    ],
)
def test_arguments_name_paths_in_disguise(text: str, path: str) -> None:
    """Dots, doubled and backward slashes, quotes, options and commands do not hide a path."""
    assert path in list(candidates(text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("../../../etc/passwd", ["../../../etc/passwd", "/etc/passwd"]),
        ("a/../../.env", ["../.env", "/.env"]),
        ("../..", ["../..", "/"]),
        ("..", ["..", "/"]),
        ("@.env", ["@.env", ".env"]),
        ("+a", ["+a", "a"]),
        ("-C/root", ["-c/root", "/root"]),
        ("-d@../x", ["-d@../x", "@../x", "/x", "../x"]),
        ("--at/x", ["--at/x"]),
        ("@", ["@"]),
        ("-", ["-"]),
        ("./" * 3000 + "x", ["x"]),
        ("y" * 5000, []),
    ],
)
def test_a_word_is_also_what_may_be_left_of_it(text: str, names: list[str]) -> None:
    """A mark or option letter before a path is taken off as well, and what climbs is also seen from the root, once resolved."""
    assert list(dict.fromkeys(candidates(text))) == names


@pytest.mark.parametrize("word", [
    "../" * 1360, "-@" + "a/" * 2040, "-@" + "a/" * 1000 + "../" * 1000, "+" * 4000, "\u0301\u0316" * 2000,
    ("\u0301\u0316" * 127 + "/") * 16,
])  # fmt: skip
def test_hostile_words_are_read_in_bounded_time(word: str) -> None:
    """A mebibyte of words that climb or shed marks is read and held against globs in seconds."""
    text = " ".join(f"{word}{number}" for number in range(2**20 // (len(word) + 5)))
    assert not path_matcher(("/etc/**", "**/secrets/**", "*.pem"))(called("tool", text).paths)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"path": "secrets/a"}',
        '{"secrets/a": 1}',
        '{"path": "secrets/a", "path": "harmless"}',
        '[{"edits": [{"file": ["secrets/a"]}]}]',
        "*** Update File: secrets/a\n+x",
        '{"cmd": "cat secrets/a',
        '"\\u0073ecrets/a"',
    ],
)
def test_paths_are_found_wherever_arguments_name_them(arguments: str) -> None:
    """Values, keys, repeated keys, nested lists, plain text, broken JSON and escapes are all read."""
    assert path_matcher(("secrets/**",))(called("edit", arguments).paths)


@pytest.mark.parametrize(
    "arguments",
    ["x" * (BYTES_MOST + 1), json.dumps([f"f{index}" for index in range(CANDIDATES_MOST + 2)])],
)
def test_what_is_too_much_to_read_is_not_read(arguments: str) -> None:
    """Arguments beyond the bounds give an unreadable call, which every rule on paths takes to match."""
    call = called("edit", arguments)
    assert (call.readable, call.paths) == (False, "")


@drawn.calm
@given(st.text(max_size=60) | st.recursive(st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)).map(json.dumps))
def test_any_arguments_are_read(arguments: str) -> None:
    """Whatever a model writes is read without an exception, into lines that are never empty."""
    call = called("tool", arguments)
    assert call.readable and (not call.paths or all(call.paths.split("\n")))


def test_deeply_nested_arguments_are_read_as_text() -> None:
    """JSON that is nested beyond reason counts as text, and its words are still seen."""
    assert path_matcher(("secrets/**",))(called("edit", "[" * 50_000 + '"secrets/a"').paths)
