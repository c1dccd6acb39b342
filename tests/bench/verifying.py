"""How long the offline verifier takes for a whole log, and how much memory: an export, verified in a process of its own.

The log is that of ordinary requests, of which every body is disclosed: three opening records, two notes, diffusion blocks of 32
tokens and 8 steps, delivery and close, with a checkpoint for every thousand records.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from audit.header import uuid7
from audit.records import BlockTrace, Body, Kind, PromptBody, RequestClose, RequestOpen
from gateway.bench.streams import sample_blocks
from gateway.json_file import write_json
from tests.audit.samples import ORIGIN, SAMPLES, START, Log

BLOCKS: Final = 13
"""Per request, which makes twenty records of each."""
CHECKPOINT_EVERY: Final = 1000
ROOT: Final = Path(__file__).parents[2]
_VERIFY: Final = """
import sys, time
from audit.__main__ import main
status = main(sys.argv[1:])
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time(), peak)
sys.exit(status)
"""
"""`python -m audit` that tells at the end what it used; what a parent reads of a child begins with the parent's own memory."""


def request_of(blocks: tuple[BlockTrace, ...]) -> list[Body]:
    """The records of one request, whose close declares what they hold."""
    opened, prompt, close = SAMPLES[Kind.REQUEST_OPEN], SAMPLES[Kind.PROMPT_BODY], SAMPLES[Kind.REQUEST_CLOSE]
    assert isinstance(opened, RequestOpen) and isinstance(prompt, PromptBody) and isinstance(close, RequestClose)
    tokens = [token for block in blocks for token in block.output]
    declared = replace(
        close,
        prompt_tokens=len(prompt.ids),
        tokens=len(tokens),
        blocks=len(blocks),
        steps=sum(block.steps.steps for block in blocks),
        rounds=0,
        forwards=sum(block.forwards for block in blocks),
        output_digest=sha256(b"".join(token.to_bytes(4, "big") for token in tokens)).digest(),
        records=len(blocks) + 7,
    )
    notes = [SAMPLES[Kind.ENGINE_NOTE]] * 2
    return [opened, prompt, SAMPLES[Kind.POLICY_DECISION], *notes, *blocks, SAMPLES[Kind.DELIVERY], declared]


def made(folder: Path, records: int) -> Log:
    """A log of so many records, rounded up to whole requests, exported into `folder / "out"`."""
    log, bodies = Log(folder / "keys"), request_of(sample_blocks()[:BLOCKS])
    while len(log.rows) < records:
        log.add(uuid7(START), bodies)
        if len(log.rows) // CHECKPOINT_EVERY > len(log.notes) or len(log.rows) >= records:
            log.checkpoint()
    log.export(folder / "out")
    return log


def verified(folder: Path, vkeys: tuple[str, ...]) -> dict[str, float]:
    """Seconds of wall and processor that the verifier takes in a fresh process, and its largest memory in MiB."""
    keys = [f"--vkey={key}" for key in vkeys]
    command = [sys.executable, "-c", _VERIFY, "verify", str(folder), "--origin", ORIGIN, *keys, "--require=ml-dsa-44"]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0 or not done.stdout.startswith("VERIFIED"):
        raise SystemExit(f"not verified: {done.stdout}")
    cpu, kibibytes = done.stdout.splitlines()[-1].split()
    return {"seconds": round(seconds, 2), "cpu_seconds": round(float(cpu), 2), "peak_mib": round(int(kibibytes) / 1024, 1)}


def figures(sizes: list[int]) -> Iterator[dict[str, Any]]:
    """One row per size."""
    for records in sizes:
        with tempfile.TemporaryDirectory(prefix="palimpsest-verify-") as place:
            log = made(Path(place), records)
            size = sum(path.stat().st_size for path in (Path(place) / "out").iterdir())
            yield {
                "records": len(log.rows),
                "mebibytes": round(size / 2**20, 1),
                **verified(Path(place) / "out", log.signer.vkeys),
            }


def main() -> None:
    """Print a line per size and, if asked, write them all as JSON."""
    parser = argparse.ArgumentParser(description="Time and memory of the offline verifier.")
    parser.add_argument("--records", type=int, action="append", help="size of a log; repeatable; default 10000 and 100000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    asked = parser.parse_args()
    rows = []
    for row in figures(asked.records or [10_000, 100_000]):
        rows.append(row)
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
    write_json(asked.json, {"load_average": os.getloadavg()[0], "rows": rows})


if __name__ == "__main__":
    main()
