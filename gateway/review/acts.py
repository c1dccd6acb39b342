"""What the calls of an answer would do, by their arguments: a file written or changed, a command, a request, or just a call.

Tools have names of their own in every client, so an act is known by what it is given: a path with content, a path with an old
and a new text, a command, an address. Arguments are a model's: anything may be missing or of another type, and is then shown as
it is.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, TypeAlias

from gateway.calls import AnswerReader, CallArguments, CallBegun, Called, Part, Reasoning, parts_of
from gateway.dialects.request import ToolSpec
from gateway.pieces import Text
from gateway.review.diffing import Part as Change
from gateway.review.diffing import Side, difference

_PATHS: Final = ("path", "file_path", "filename", "file", "filepath", "target_file", "notebook_path")
_CONTENTS: Final = ("content", "contents", "file_text", "text", "code", "new_source")
_OLD: Final = ("old_string", "old_str", "old_text", "search", "old")
_NEW: Final = ("new_string", "new_str", "new_text", "replace", "new")
_COMMANDS: Final = ("command", "cmd", "script")
_ADDRESSES: Final = ("url", "uri", "endpoint")
_PATCHES: Final = ("patch", "diff", "input")


@dataclass(frozen=True, slots=True)
class Writes:
    """The whole content of a file."""

    tool: str
    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Texts of a file that become others; `parts` is their difference line by line."""

    tool: str
    path: str
    parts: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """A command on the client's machine."""

    tool: str
    command: str


@dataclass(frozen=True, slots=True)
class Requests:
    """A request to somewhere else."""

    tool: str
    method: str
    address: str
    body: str


@dataclass(frozen=True, slots=True)
class Calls:
    """Any other tool: its arguments as JSON."""

    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Gives:
    """What the call before is given besides, which its act does not tell: as JSON, for a tool may act on any of it."""

    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Says:
    """Text between calls; `thought`: the model's reasoning."""

    text: str
    thought: bool = False


Act: TypeAlias = Writes | Changes | Runs | Requests | Calls | Gives | Says
_Given: TypeAlias = Mapping[str, Any]


def acts_of(text: str, tools: Iterable[str]) -> tuple[Act, ...]:
    """What an answer says and does, in order; `tools` are the names that it may call."""
    reader = AnswerReader([ToolSpec(name, "", {}) for name in dict.fromkeys(tools)], "call-")
    return tuple(_acts(_joined(parts_of(reader, text))))


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Pieces of text that follow one another as one."""
    for spoken, group in groupby(parts, key=lambda part: isinstance(part, Text)):
        if spoken:
            yield Text("".join(part.text for part in group if isinstance(part, Text)))
        else:
            yield from group


def _acts(parts: Iterable[Part]) -> Iterator[Act]:
    name = ""
    for part in parts:
        match part:
            case Text(text=text) if text.strip():
                yield Says(text)
            case Reasoning(text=text):
                yield Says(text, thought=True)
            case CallBegun(name=name):
                pass
            case CallArguments(json=arguments):
                yield from acts_by(Called(name, arguments))
            case _:
                pass


def acts_by(call: Called) -> Iterator[Act]:
    """What one call would do, and what it is given besides."""
    given = _object(call.arguments)
    act, told = _act_of(call, given)
    yield act
    rest = {name: value for name, value in given.items() if name not in told}
    if rest:
        yield Gives(call.name, _pretty(rest))


def _act_of(call: Called, given: _Given) -> tuple[Act, Collection[str]]:
    """What the call would do, and the names of the arguments that this tells whole."""
    path, (edits, told) = _text(given, _PATHS), _edits(given)
    if path is not None and edits:
        parts = tuple(part for edit in edits for part in _lines(edit.old, edit.new))
        return Changes(call.name, given[path], parts), {path, *told}
    if path is not None and (content := _text(given, _CONTENTS)) is not None:
        return Writes(call.name, given[path], given[content]), {path, content}
    if (command := _command(given)) is not None:
        return Runs(call.name, _spoken(given[command])), {command}
    if (address := _text(given, _ADDRESSES)) is not None:
        method = _text(given, ("method",))
        rest = {name: value for name, value in given.items() if name not in (address, method)}
        verb = "GET" if method is None else given[method].upper() or "GET"
        return Requests(call.name, verb, given[address], _pretty(rest)), given.keys()
    patch = _text(given, _PATCHES)
    if patch is not None and given[patch].lstrip().startswith(("*** Begin Patch", "--- ", "diff ")):
        return Changes(call.name, _patched(given[patch]), tuple(_patch_lines(given[patch]))), {patch}
    return Calls(call.name, _pretty(given) if given else call.arguments), given.keys()


def title_of(acts: Iterable[Act]) -> str:
    """A headline, never empty: what is done first, else the beginning of what is said."""
    said = ""
    for act in acts:
        if not isinstance(act, Says):
            return _short(_done(act)) or "a call without a name"
        said = said or ("" if act.thought else act.text.strip())
    return _short(said) or "an empty answer"


def _done(act: Writes | Changes | Runs | Requests | Calls | Gives) -> str:
    match act:
        case Writes(tool=tool, path=about) | Changes(tool=tool, path=about) | Runs(tool=tool, command=about):
            return f"{tool} {about}"
        case Requests(tool=tool, address=about):
            return f"{tool} {about}"
        case Calls(tool=tool) | Gives(tool=tool):
            return tool


def _short(text: str, most: int = 56) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _object(arguments: str) -> _Given:
    try:
        told = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _text(given: _Given, keys: Iterable[str]) -> str | None:
    """The first of the keys under which there is a text."""
    return next((key for key in keys if isinstance(given.get(key), str)), None)


@dataclass(frozen=True, slots=True)
class _Edit:
    """An old text and a new one; `told` are the names of both, `whole`: nothing else is said of this edit."""

    old: str
    new: str
    told: tuple[str, str]
    whole: bool


def _edit(given: object) -> _Edit | None:
    """What an edit says, None for what is no edit."""
    if not isinstance(given, dict):
        return None
    old, new = _text(given, _OLD), _text(given, _NEW)
    return None if old is None or new is None else _Edit(given[old], given[new], (old, new), len(given) == 2)


def _edits(given: _Given) -> tuple[list[_Edit], Collection[str]]:
    """The edits of a call, its own and those of a list; and the names of the arguments of which they tell all."""
    listed = given.get("edits")
    own, others = _edit(given), [_edit(each) for each in listed] if isinstance(listed, list) else []
    told = [] if own is None else [*own.told]
    if others and all(each is not None and each.whole for each in others):
        told.append("edits")
    return [each for each in (own, *others) if each is not None], told


def _command(given: _Given) -> str | None:
    """The first of the names under which there is a command, as a text or word by word."""
    return next((key for key in _COMMANDS if _is_command(given.get(key))), None)


def _is_command(told: object) -> bool:
    return isinstance(told, str) or (isinstance(told, list) and all(isinstance(word, str) for word in told))


def _spoken(command: str | list[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _lines(old: str, new: str) -> tuple[Change, ...]:
    return difference(old.splitlines(keepends=True), new.splitlines(keepends=True))


def _patched(patch: str) -> str:
    """The first file that a patch names."""
    heads = ("*** Update File: ", "*** Add File: ", "*** Delete File: ", "+++ ")
    named = (line[len(head) :].strip() for line in patch.splitlines() for head in heads if line.startswith(head))
    return next(named, "a patch")


def _patch_lines(patch: str) -> Iterator[Change]:
    sides = {"+": Side.NEW, "-": Side.OLD}
    for line in patch.splitlines(keepends=True):
        yield Change(sides.get(line[:1], Side.BOTH), line)


def _pretty(told: Mapping[str, Any]) -> str:
    return json.dumps(told, indent=2, ensure_ascii=False) if told else ""
