"""The derived files of a bundle as the verifier meets them: each must be the file that its list says, no more is asked.

They are no evidence, and nobody has signed the list: it shows what was damaged, and what was added without being listed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from audit.errors import MalformedData

MAX_LINE_BYTES: Final = 1024
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f-\x9f\\]+)\n")


def altered_files(folder: Path, lines: Iterable[bytes], listed: set[str]) -> Iterator[str]:
    """What is wrong with the files that the lines of `derived.sha256` list, one sentence each; their names go into `listed`.

    Raises MalformedData for a line of another form, or one that names a file outside the folder.
    """
    inside = folder.resolve()
    for line in lines:
        digest, name = _parse(line)
        listed.add(name)
        path = _inside(inside, name)
        if path is None:
            yield f"the derived file {name!r} is missing"
        elif _sha256(path) != digest:
            yield f"the derived file {name!r} is not the one that is listed"


def unlisted_files(folder: Path, listed: Collection[str]) -> Iterator[str]:
    """The names of all other files in the folder, links included; folders that cannot be looked into are passed over."""
    folders = [folder]
    while folders:  # not os.walk, which calls itself for every folder: some thousand in one another end it
        try:
            entries = os.scandir(folders.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif (name := Path(entry.path).relative_to(folder).as_posix()) not in listed:
                    yield name


def _inside(inside: Path, name: str) -> Path | None:
    """The file of that name, if it is one and lies in the folder; None also for links that lead nowhere."""
    try:
        path = (inside / name).resolve()
        return path if path.is_relative_to(inside) and path.is_file() else None
    except (OSError, RuntimeError):
        return None


def _parse(line: bytes) -> tuple[str, str]:
    try:
        match = _LINE.fullmatch(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedData("the list of derived files is not UTF-8") from error
    if match is None or str(PurePosixPath(match[2])) != match[2] or not _stays_inside(PurePosixPath(match[2])):
        raise MalformedData("a line of the list of derived files is a digest, two spaces and a path inside the bundle")
    return match[1], match[2]


def _stays_inside(path: PurePosixPath) -> bool:
    return not path.is_absolute() and ".." not in path.parts


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
