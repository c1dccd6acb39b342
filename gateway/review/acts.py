"""What the calls of an answer would do, by their arguments: a file written or changed, a command, a request, or just a call.

Tools have names of their own in every client, so an act is known by what it is given: a path with content, a path with an old
and a new text, a command, an address. Arguments are a model's: anything may be missing or of another type, and is then shown as
it is.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
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
class Says:
    """Text between calls; `thought`: the model's reasoning."""

    text: str
    thought: bool = False


Act: TypeAlias = Writes | Changes | Runs | Requests | Calls | Says


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
                yield act_of(Called(name, arguments))
            case _:
                pass


def act_of(call: Called) -> Act:
    """What one call would do."""
    given = _object(call.arguments)
    path = _text(given, _PATHS)
    if path is not None:
        edits = list(_edits(given))
        if edits:
            return Changes(call.name, path, tuple(part for old, new in edits for part in _lines(old, new)))
        content = _text(given, _CONTENTS)
        if content is not None:
            return Writes(call.name, path, content)
    command = _command(given)
    if command is not None:
        return Runs(call.name, command)
    address = _text(given, _ADDRESSES)
    if address is not None:
        method = _text(given, ("method",)) or "GET"
        rest = {key: value for key, value in given.items() if key not in (*_ADDRESSES, "method")}
        return Requests(call.name, method.upper(), address, _pretty(rest))
    patch = _text(given, _PATCHES)
    if patch is not None and patch.lstrip().startswith(("*** Begin Patch", "--- ", "diff ")):
        return Changes(call.name, _patched(patch), tuple(_patch_lines(patch)))
    return Calls(call.name, _pretty(given) if given else call.arguments)


def title_of(acts: Iterable[Act]) -> str:
    """A headline, never empty: what is done first, else the beginning of what is said."""
    said = ""
    for act in acts:
        if not isinstance(act, Says):
            return _short(_done(act)) or "a call without a name"
        said = said or ("" if act.thought else act.text.strip())
    return _short(said) or "an empty answer"


def _done(act: Writes | Changes | Runs | Requests | Calls) -> str:
    match act:
        case Writes(tool=tool, path=about) | Changes(tool=tool, path=about) | Runs(tool=tool, command=about):
            return f"{tool} {about}"
        case Requests(tool=tool, address=about):
            return f"{tool} {about}"
        case Calls(tool=tool):
            return tool


def _short(text: str, most: int = 56) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _object(arguments: str) -> Mapping[str, Any]:
    try:
        told = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _text(given: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    return next((given[key] for key in keys if isinstance(given.get(key), str)), None)


def _edits(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Old and new texts of one edit, or of a list of them."""
    listed = given.get("edits")
    for edit in (given, *listed) if isinstance(listed, list) else (given,):
        if isinstance(edit, dict):
            old, new = _text(edit, _OLD), _text(edit, _NEW)
            if old is not None and new is not None:
                yield old, new


def _command(given: Mapping[str, Any]) -> str | None:
    for key in _COMMANDS:
        command = given.get(key)
        if isinstance(command, str):
            return command
        if isinstance(command, list) and all(isinstance(word, str) for word in command):
            return shlex.join(command)
    return None


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
