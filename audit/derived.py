"""The derived files of a bundle as the verifier meets them: each must be the file that its list says, no more is asked.

They are no evidence; but a bundle in which a person could read something else than was exported is not whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from audit.errors import MalformedData

MAX_LINE_BYTES: Final = 1024
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f\\]+)\n")


def altered_files(folder: Path, lines: Iterable[bytes]) -> Iterator[str]:
    """What is wrong with the files that the lines of `derived.sha256` list, one sentence each.

    Raises MalformedData for a line of another form, or one that names a file outside the folder.
    """
    inside = folder.resolve()
    for line in lines:
        digest, name = _parse(line)
        path = (inside / name).resolve()
        if not path.is_relative_to(inside) or not path.is_file():
            yield f"the derived file {name} is missing"
        elif _sha256(path) != digest:
            yield f"the derived file {name} is not the one that was exported"


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
