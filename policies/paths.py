"""What the arguments of a tool call name: every text in them, and every word of it, as a path would be written.

Arguments are whatever a model wrote, so all of this is bounded, and nothing is trusted to be what it says: a key counts like a
value, a repeated key like each, a shell command by its words. What hides in a variable or an encoding is not seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from policies.facts import ToolCall
from policies.globs import spellings

PATH_MOST: Final = 4096
"""Characters of a path; no system takes a longer one."""
CANDIDATES_MOST: Final = 6144
BYTES_MOST: Final = 1 << 20

_BREAKS = re.compile(r"[\s\"'`=;|&<>(){}\[\],:]+")
_QUOTING = re.compile(r"\\\n|\$(?=['\"])|['\"\\]")
"""What a shell takes out of its words: `.e''nv`, `.e\\nv` and `$'.env'` are one file."""
_WORD = re.compile(r"""(?:\\[\s\S]|"(?:[^"\\]|\\[\s\S])*+"|'[^']*+'|[^\s"'\\;|&<>()`])++""")
"""A word as a shell cuts it: what is quoted or behind a backslash ends none, nor do `=` and brackets."""
_QUOTES: Final = str.maketrans("", "", "\"'")
_MARKS: Final = "@+"
"""What tools read before the name of a file: `curl -d @x`, `git push +x`."""
_OPTION = re.compile(r"-[^-][a-z]*", re.IGNORECASE)
_BEFORE = re.compile(r"[=:]")
"""Behind what a path may begin in a word that is cut by a shell: `--file=x`, `host:x`, `c:/x`."""
_CLIMB = re.compile(r"(?:\.\.(?:/|$))+")


def called(name: str, arguments: str) -> ToolCall:
    """The facts of one call; `arguments` is JSON as a rule, and counts as one text where it is not."""
    if len(arguments) > BYTES_MOST:
        return ToolCall(name, readable=False)
    found: dict[str, None] = {}
    for text in _texts(arguments):
        for candidate in candidates(text):
            found[candidate] = None
        if len(found) > CANDIDATES_MOST:
            return ToolCall(name, readable=False)
    return ToolCall(name, "\n".join(found))


def candidates(text: str) -> Iterator[str]:
    """What `text` may name: itself and each of its words, folded and resolved; never empty, never with a line break.

    A word is also taken without what may stand before a path (`@x`, `+x`, `-Cx`), and one that climbs by `..` also from the
    root, where it may arrive. Words count as they are written and as a shell reads them. Too many candidates only tighten. One
    that is too long is measured once it is resolved.
    """
    for word in _words(text):
        for given in _given(word):
            path = _resolved(given)
            if path and len(path) <= PATH_MOST:
                for spelt in spellings(path):
                    yield spelt
                    if _CLIMB.match(spelt):
                        yield "/" + _CLIMB.sub("", spelt, count=1)


def _words(text: str) -> Iterator[str]:
    """The text, its words, and those that it has without quoting, where there is any; each also with what belongs to it."""
    words = _BREAKS.split(text)
    yield from words
    if (read := _QUOTING.sub("", text)) != text:
        yield from _BREAKS.split(read)
    if len(words) > 1:
        yield from _behind(text)
        for word in filter(_BREAKS.search, _WORD.findall(text)):
            yield from _behind(word.translate(_QUOTES))
            yield from _behind(_QUOTING.sub("", word))


def _behind(word: str) -> Iterator[str]:
    """A word with a blank, a bracket or the like in it, and what is behind the first and the last mark that may open a path."""
    one = word.replace("\n", " ")
    yield one
    if _BEFORE.search(one):
        yield _BEFORE.split(one, maxsplit=1)[1]
        yield _BEFORE.split(one)[-1]


def _given(word: str) -> Iterator[str]:
    """`word`, and what is left of it as an argument: at most five, each no longer than itself."""
    yield word
    if letters := _OPTION.match(word):
        yield word[letters.end() :]  # `-rf.env`
        word = word[2:]
        yield word
        if (root := word.find("/")) > 0:  # of letters together, the last may take a path: `-xvC/root`
            yield word[root:]
    if word.startswith(tuple(_MARKS)):
        yield word.lstrip(_MARKS)


def _resolved(text: str) -> str:
    """`text` with `/` between its segments, none of them empty or `.`, and `..` carried out where something can go."""
    segments: list[str] = []
    plain = text.replace("\\", "/").strip()
    root = "/" if plain.startswith("/") else ""
    for segment in plain.split("/"):
        if segment == ".." and segments and segments[-1] != "..":
            segments.pop()
        elif segment not in ("", ".") and not (root and segment == ".."):
            segments.append(segment)
    return root + "/".join(segments)


def _texts(arguments: str) -> Iterator[str]:
    try:
        parsed = json.loads(arguments, object_pairs_hook=lambda pairs: [part for pair in pairs for part in pair])
    except (ValueError, RecursionError):
        yield arguments
        return
    waiting: list[object] = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting.extend(value)
