"""`--json FILE` of a command: the option, and a look at the folder before the work begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import rich_click as click

F = TypeVar("F", bound=Callable[..., Any])


def json_to(about: str) -> Callable[[F], F]:
    """`--json FILE` of a command that has something else than figures to write."""
    return click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help=about)


json_option: Final = json_to("Write all figures to this file.")


def require_folder(file: Path | None, option: str = "--json") -> None:
    """Raises BadParameter for a file that could not be written; `option` named it. What lies there stays as it is."""
    if file is None:
        return
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"the folder of {file} does not exist: make it first", param_hint=option)
    if file.exists() and not file.is_file():  # a pipe is not tried: whoever reads it would see it end
        return
    new = not file.exists()
    try:
        file.open("ab").close()
        if new:
            file.resolve().unlink()
    except OSError as error:
        raise click.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint=option) from error
