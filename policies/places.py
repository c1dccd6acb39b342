"""Where a key stands: the line of every key of a TOML text, by a scanner of our own, for `tomllib` tells none.

The text is one that `tomllib` has read, so the scanner only has to know where values end. Keys are dotted; the entries of a
list of tables are named by their `id` (`rules.night-hold.when`), for that is how documents merge.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"""(?:"{0,2})|\'\'\'[\s\S]*?\'\'\'(?:\'{0,2})|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
)
_BARE: Final = re.compile(r"[^,\]}#\n]*")

Lines = dict[str, int]


def lines_of(text: str, tables: Mapping[str, Any]) -> Lines:
    """The line (from 1) of every key and list entry of a text, whose parsed form is `tables`."""
    scanner = _Scanner(text)
    scanner.document()
    breaks = [match.start() for match in re.finditer("\n", text)]
    return {named(path, tables): bisect_left(breaks, at) + 1 for path, at in scanner.found.items()}


def named(path: str, tables: Mapping[str, Any]) -> str:
    """A dotted path with `rules[3]` written as `rules.<id>`, where the entry of `tables` has an id."""
    value: Any = tables
    parts: list[str] = []
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError):
            value = None
        known = isinstance(value, dict) and isinstance(value.get("id"), str)
        if name:
            parts.append(name)
        elif known:
            parts.append(value["id"])
        else:
            parts[-1] += f"[{index}]"
    return ".".join(parts)


def line_of(lines: Lines, path: str) -> int | None:
    """The line of a key, or of the nearest table around it that is written down."""
    while path:
        if path in lines:
            return lines[path]
        path = re.sub(r"(?:^|\.)[^.\[\]]+$|\[\d+\]$", "", path)
    return None


class _Scanner:
    """Reads keys and skips values; `found` has the offset of each dotted key."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._table = text, 0, ""
        self.found: dict[str, int] = {}
        self._entries: dict[str, int] = {}

    def document(self) -> None:
        self._skip(_SPACE)
        before = -1
        while before < self._at < len(self._text):
            before = self._at
            if self._text[self._at] == "[":
                self._header()
            else:
                self._pair(self._table)
            self._skip(_SPACE)

    def _header(self) -> None:
        start, many = self._at, self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        names = self._dotted()
        path = ""
        for depth, name in enumerate(names, 1):
            path = f"{path}.{name}" if path else name
            if many and depth == len(names):
                self.found.setdefault(path, start)
                self._entries[path] = self._entries.get(path, -1) + 1
            if path in self._entries:
                path = f"{path}[{self._entries[path]}]"
            self.found.setdefault(path, start)
        self._table = path
        self._at = self._text.find("]", self._at) + (2 if many else 1)

    def _dotted(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip(_INLINE)
            name = self._skip(_KEY)
            names.append(_plain(name) if name[:1] in "\"'" else name)
            self._skip(_INLINE)
            if not self._text.startswith(".", self._at):
                return names
            self._at += 1

    def _pair(self, table: str) -> None:
        start = self._at
        for name in self._dotted():
            table = f"{table}.{name}" if table else name
            self.found.setdefault(table, start)
        self._at = self._text.find("=", self._at) + 1
        self._skip(_INLINE)
        self._value(table)

    def _value(self, path: str) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "{":
            self._many("}", lambda _: self._pair(path))
        elif opening == "[":
            self._many("]", lambda index: self._entry(f"{path}[{index}]"))
        elif opening in ('"', "'"):
            self._skip(_STRING)
        else:
            self._skip(_BARE)

    def _entry(self, path: str) -> None:
        self.found.setdefault(path, self._at)
        self._value(path)

    def _many(self, closing: str, each: Callable[[int], None]) -> None:
        """The entries of an array or inline table."""
        self._at += 1
        index = 0
        while self._at < len(self._text):
            self._skip(_SPACE)
            before = self._at
            if self._text.startswith(closing, before):
                self._at += 1
                return
            if self._text.startswith(",", before):
                self._at += 1
                continue
            each(index)
            index += 1
            if self._at == before:
                return

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()


def _plain(quoted: str) -> str:
    """A quoted key without its quotes; `tomllib` knows the escapes."""
    return next(iter(tomllib.loads(f"{quoted} = 0")))
