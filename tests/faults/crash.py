"""Crash rounds: kill -9 of PostgreSQL, of the gateway, or of both, under load, and what is on record afterwards.

    python -m tests.faults.crash [--rounds 100] [--seed S] [--json FILE]

One gateway process serves a crowd of clients in all modes over a PostgreSQL of its own with fsync on. At a random moment the
victim of the round is killed; then everything is started again and judged: what clients received is explained by committed
records, their ends are on record, the log is dense and holds nothing twice, nothing that was there before is gone, every
request has ended, and the export verifies against the checkpoint that was kept from the round before.

The first round that fails ends the run and leaves its folder, which is then named. Exit status 0 if none failed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gateway.postgres import launch
from migrations.run import upgrade
from tests.faults import judge
from tests.faults.rounds import Round, Site, open_site
from tests.gateway.served import endless_checkpoint
from tests.postgres_fixtures import Database, copied, discard


@contextmanager
def fresh_database(home: Path, console: Console) -> Iterator[Database]:
    """A migrated database on a durable server of its own; the server's data goes with it, unless the block fails."""
    server = launch(home)
    upgrade(server.owner_url)
    try:
        with copied(server) as database:
            yield database
    except BaseException:
        server.close()
        console.print(f"the database's files stay in {server.place.folder}")
        raise
    discard(server)


def fight_on(site: Site, rounds: int, seed: int, folder: Path, progress: Progress) -> list[Round]:
    """Round after round, up to the first that fails; the evidence of those that pass is removed."""
    fought: list[Round] = []
    bar = progress.add_task("crashes", total=rounds)
    for number in range(rounds):
        place = folder / f"round-{number:04d}"
        fought.append(site.fight(number, seed, place))
        if fought[-1].wrong:
            break
        shutil.rmtree(place)
        progress.update(bar, advance=1, description=f"crashes ({fought[-1].records} records)")
    return fought


def last_word(site: Site, folder: Path) -> list[str]:
    """What is wrong with the log after the gateway was stopped politely: then everything must be signed and verify."""
    report = judge.exported(site.served, folder, site.memory)
    if report.covered != report.records:
        return [f"{report.records - report.covered} records are under no checkpoint after a polite stop"]
    return [*judge.unproven(report), *judge.misheard(site.served, site.told)]


def summary(fought: list[Round], seed: int, wrong: list[str]) -> dict[str, Any]:
    """The run in figures, and each round."""
    return {
        "seed": seed,
        "rounds": len(fought),
        "victims": dict(Counter(each.victim.value for each in fought)),
        "verdicts": dict(Counter(each.verdict.name.lower() for each in fought)),
        "answers": sum(each.answers for each in fought),
        "complete": sum(each.complete for each in fought),
        "abandoned": sum(each.abandoned for each in fought),
        "refused": sum(each.refused for each in fought),
        "characters": sum(each.characters for each in fought),
        "records": max((each.records for each in fought), default=0),
        "seconds_median": median(each.seconds for each in fought) if fought else None,
        "wrong": wrong,
        "each": [each.document() for each in fought],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description="kill -9 under load, and judge")
    parser.add_argument("--rounds", type=int, default=100, choices=range(1, 100_001), metavar="N")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), metavar="S", help="default: drawn, and printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    return parser.parse_args()


def run(asked_for: argparse.Namespace, folder: Path, console: Console) -> None:
    """All rounds in a new database, and their result; SystemExit when something is wrong."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with fresh_database(folder / "database", console) as database:
        checkpoint, progress = endless_checkpoint(folder / "endless"), Progress(*columns, console=console)
        with open_site(database, folder / "home", checkpoint) as site, progress:
            fought = fight_on(site, asked_for.rounds, asked_for.seed, folder, progress)
        wrong = [f"round {each.number} ({each.victim}): {fault}" for each in fought for fault in each.wrong]
        wrong = wrong or last_word(site, folder / "last")
        result = summary(fought, asked_for.seed, wrong)
        console.print_json(data={name: value for name, value in result.items() if name != "each"})
        if asked_for.json:
            asked_for.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        if wrong:
            sys.exit("FAILED: " + "\n".join(wrong))


def main() -> None:
    """The command line."""
    asked_for, console = _arguments(), Console()
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    console.print(f"seed {asked_for.seed}")
    try:
        run(asked_for, folder, console)
    except BaseException:
        console.print(f"logs, bundle and keys stay in {folder}")
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
