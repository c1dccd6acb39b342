"""Mutation fuzzing of every parser that reads bytes of strangers.

    python -m tests.faults.fuzz [--minutes 10] [--parser NAME] [--seed S] [--json FILE]

`--minutes` is for each parser. The law: only the errors of the room, bounded time and memory per input, and nothing that
differs from a genuine input is accepted as genuine (`parsers.py` says what that means for each).

An input that breaks the law is written to a folder, which is then named. Exit status 0 if none did.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import parsers
from tests.faults.bundles import bundle_parser
from tests.faults.feeding import Tally, fuzz
from tests.faults.parsers import Parser

PLAIN: tuple[Callable[[], Parser], ...] = (
    parsers.cbor_parser, parsers.header_parser, parsers.body_parser, parsers.note_parser, parsers.signed_note_parser,
    parsers.checkpoint_parser, parsers.vkey_parser, parsers.proof_parser, parsers.checked_proof_parser,
    parsers.tile_path_parser, parsers.entries_parser, parsers.submission_parser, parsers.chat_parser,
)  # fmt: skip
WITH_FILES: tuple[Callable[[Path], Parser], ...] = (
    parsers.anchor_parser,
    parsers.manifest_parser,
    parsers.policy_parser,
    bundle_parser,
)


NAMES = ("cbor", "header", "body", "note", "signed-note", "checkpoint", "vkey", "proof", "checked-proof", "tile-path",
         "entries", "submission", "chat", "anchor", "manifest", "policy", "bundle")  # fmt: skip


def all_parsers(folder: Path) -> list[Parser]:
    """Every parser; those that read files do so below `folder`."""
    made = [make() for make in PLAIN]
    for number, make in enumerate(WITH_FILES):
        own = folder / str(number)
        own.mkdir()
        made.append(make(own))
    return made


def fuzz_for(parser: Parser, seed: int, seconds: float, progress: Progress) -> Tally:
    """Fuzz one parser for so long, with a bar of its own."""
    bar, started = progress.add_task(parser.name, total=seconds, figures=""), time.monotonic()

    def go_on(tally: Tally) -> bool:
        if tally.inputs % 50 == 0:
            figures = f"{tally.inputs} inputs, {len(tally.reasons)} reasons"
            progress.update(bar, completed=time.monotonic() - started, figures=figures)
        return time.monotonic() - started < seconds

    tally = fuzz(parser, Random(f"{seed} {parser.name}"), go_on)
    progress.update(bar, completed=seconds)
    return tally


def keep(name: str, tally: Tally, folder: Path) -> None:
    """Write the inputs that broke the law."""
    for broken in tally.broken.values():
        digest = hashlib.sha256(broken).hexdigest()[:12]
        folder.joinpath(f"{name}-{digest}").write_bytes(broken)


def _minutes(text: str) -> float:
    number = float(text)
    if not 0 < number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text}: give a number of minutes above 0")
    return number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description="mutants for every parser")
    parser.add_argument("--minutes", type=_minutes, default=10.0, metavar="M", help="for each parser")
    parser.add_argument("--parser", action="append", choices=NAMES, help="this one only; may be repeated")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), metavar="S", help="default: drawn, and printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    asked_for, console = _arguments(), Console()
    console.print(f"seed {asked_for.seed}")
    columns = (TextColumn("{task.description:<14}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[figures]}"))
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, Progress(*columns, console=console) as progress:
        for parser in all_parsers(Path(folder)):
            if parser.name in (asked_for.parser or NAMES):
                tallies[parser.name] = fuzz_for(parser, asked_for.seed, asked_for.minutes * 60, progress)
    result = {"seed": asked_for.seed, "parsers": {name: tally.document() for name, tally in tallies.items()}}
    console.print_json(data=result)
    if asked_for.json:
        asked_for.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if broken := [f"{name}: {law}" for name, tally in tallies.items() for law in tally.broken]:
        kept = Path(tempfile.mkdtemp(prefix="fuzz-broken-"))
        for name, tally in tallies.items():
            keep(name, tally, kept)
        sys.exit(f"FAILED; the inputs are in {kept}:\n" + "\n".join(broken))


if __name__ == "__main__":
    main()
