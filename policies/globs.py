"""Globs: names of workflows and tools, and paths, turned into expressions that match in bounded time.

In a name `*` is any text and `?` one character. In a path they stop at `/`, a whole segment `**` is any number of segments, and
`dir/**` is also `dir` itself. A path that does not begin with `/` matches at any depth. Case never matters, nor in paths how an
accent is written, as one character with its letter or behind it: a file system may not tell either. Between two stars the
shortest text is taken and never reconsidered, so nothing backtracks far.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

_WILD = re.compile(r"[*?]")
NAME_MOST: Final = 255
"""Characters of a name in a path. No system takes a longer one, and putting very many accents in order takes long."""
_HELD: Final = 1024
"""Globs that are kept ready while a document is checked, in which each is held against those of many others."""


def name_matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name is one of those that `globs` stand for."""
    folded = [glob.casefold() for glob in globs]
    exact = frozenset(glob for glob in folded if not _WILD.search(glob))
    wild = [_segment(glob, r"[\s\S]") for glob in folded if _WILD.search(glob)]
    if not wild:
        return lambda name: name.casefold() in exact
    pattern = re.compile("|".join(wild)).fullmatch
    return lambda name: (folded_name := name.casefold()) in exact or pattern(folded_name) is not None


def path_matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether any line of a text (paths as `paths.candidates` writes them) is one that `globs` stand for."""
    found = re.compile(f"^(?:{'|'.join(_path(spelt) for glob in globs for spelt in spellings(glob))})$", re.MULTILINE).search
    return lambda lines: found(lines) is not None


def spellings(path: str) -> Iterable[str]:
    """A path or a glob on paths without case: as it stands, and with all accents behind their letters and in one with them."""
    plain = path.casefold()
    if plain.isascii():
        return (plain,)
    return dict.fromkeys(map("/".join, zip(*map(_spellings, path.split("/")), strict=True)))


def matches_all_of(glob: str, other: str) -> bool:
    """Whether `glob` stands for everything that `other` does, as far as can be told: equal, or `other` is a plain name."""
    wide, narrow = glob.casefold(), other.casefold()
    return wide == narrow or (not _WILD.search(narrow) and _one_name(wide)(narrow))


def reaches_all_of(glob: str, other: str) -> bool:
    """The same of globs on paths, whose stars stop at `/`."""
    wide, narrow = glob.casefold(), other.casefold()
    return wide == narrow or (not _WILD.search(narrow) and _one_path(wide)("\n".join(spellings(narrow))))


@lru_cache(_HELD)
def _one_name(glob: str) -> Callable[[str], bool]:
    return name_matcher((glob,))


@lru_cache(_HELD)
def _one_path(glob: str) -> Callable[[str], bool]:
    return path_matcher((glob,))


def _spellings(name: str) -> tuple[str, str, str]:
    if len(name) > NAME_MOST:
        return (name.casefold(),) * 3
    apart = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return name.casefold(), apart, unicodedata.normalize("NFC", apart)


def _path(glob: str) -> str:
    parts = re.sub(r"(?<![^/])\*\*(?:/\*\*)+(?![^/])", "**", glob.strip("/")).split("/")
    rooted, tail = glob.startswith("/"), ""
    if parts == ["**"]:
        return "/.*" if rooted else ".+"  # of no segment at all it is the root itself
    if parts[-1] == "**":
        parts, tail = parts[:-1], "(?:/.*)?"
    runs: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_segment(part, r"[^/\n]"))
    first, *others = ["/".join(run) for run in runs]
    root, anywhere = ("/", "") if rooted else ("/?", r"(?:[^/\n]+/)*?")
    if not others:
        return f"{root}{'' if rooted else '(?:.*/)?'}{first}{tail}"
    head = f"(?>{anywhere}{first}/)" if first else ""
    inner = "".join(rf"(?>(?:[^/\n]+/)*?{run}/)" for run in others[:-1])
    return f"{root}{head}{inner}(?:.*/)?{others[-1]}{tail}"


def _segment(glob: str, any_character: str) -> str:
    """One segment without `/`; between stars the leftmost match is as good as any other, hence the atomic groups."""
    first, *others = [_literal(piece, any_character) for piece in glob.split("*")]
    if not others:
        return first
    inner = "".join(f"(?>{any_character}*?{piece})" for piece in others[:-1] if piece)
    return f"{first}{inner}{any_character}*{others[-1]}"


def _literal(piece: str, any_character: str) -> str:
    return "".join(any_character if character == "?" else re.escape(character) for character in piece)
