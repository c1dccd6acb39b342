"""Our gateway and LiteLLM's proxy, side by side: the same recorded answers, load generator, concurrency and kind of process.

    make bench-gateway [ARGS='--json FILE --busy']

Neither has a model to wait for. Ours runs over an engine stand-in that replays the events of a recorded generation, and has all
of them durable; LiteLLM's proxy has an upstream that replays the text of the same events, and records nothing. What is added is
the median latency less that of what stands behind it, asked directly at the same concurrency. Rows take turns in each repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from engine.engine import Engine
from engine.model.checkpoint import load
from engine.request import Mode
from gateway.bench.gateway import CHAT, TENANT
from gateway.bench.http_load import Door, Load, ask_all
from gateway.bench.modes import cpu_name
from gateway.bench.place import environ_of, place
from gateway.bench.table import percentile
from gateway.cli.bench import refusal
from gateway.database import open_database
from gateway.gateway_process import SERVE, gateway_process
from gateway.guest import guest
from gateway.json_file import write_json
from gateway.settings import Settings
from tests.bench.direct import direct
from tests.bench.recorded import Replay
from tests.bench.replaying import MAX_TOKENS, MODES, QUESTION, recordings, wanted
from tests.engine.small import TINY

CONCURRENCIES: Final = (1, 16)
MODEL: Final = f"palimpsest-{TINY.name}"
MASTER_KEY: Final = "sk-bench-4f2a9c8d7e6b5a4f3c2d1e0f"
REPLAYING: Final = (sys.executable, "-m", "tests.bench.replaying")
UPSTREAM: Final = (sys.executable, "-m", "tests.bench.upstream")
OURS: Final = "palimpsest, replay"
THEIRS: Final = "LiteLLM, replay"
REAL: Final = "palimpsest, engine"
LABELS: Final = {
    OURS: "palimpsest serve with an engine stand-in that replays recorded events; every record durable",
    THEIRS: "LiteLLM's proxy before an HTTP stub that replays the text of the same events, one chunk each; nothing recorded",
    REAL: "palimpsest serve with the real engine, which computes the same answer each time",
}
REAL_SHARE: Final = 0.2

Ask = Callable[[int, int], Load]
"""So many requests, so many at a time."""


@dataclass(slots=True)
class Contest:
    """One gateway in one setting: how to ask it, how to ask what stands behind it, and what both took each time."""

    peer: str
    mode: Mode
    stream: bool
    concurrency: int
    ask: Ask
    behind: Ask
    share: float
    loads: list[Load] = field(default_factory=list)
    alone: list[Load] = field(default_factory=list)

    def run(self, requests: int) -> None:
        """Ask both once more; `share` of the requests where each takes long, or only one is asked at a time."""
        count = max(self.concurrency, round(requests * self.share))
        self.alone.append(self.behind(count, self.concurrency))
        self.loads.append(self.ask(count, self.concurrency))

    @property
    def rate(self) -> float:
        """Answers per second, median over the runs."""
        return median(load.rate for load in self.loads)

    @property
    def added(self) -> float:
        """Seconds that the gateway adds at the median, median over the runs."""
        pairs = zip(self.loads, self.alone, strict=True)
        return median(median(load.latencies) - median(alone.latencies) for load, alone in pairs)

    def row(self) -> dict[str, Any]:
        """The result as JSON has it."""
        latencies = [latency for load in self.loads for latency in load.latencies]
        return {
            "peer": self.peer,
            "answer": self.mode.value,
            "stream": self.stream,
            "concurrency": self.concurrency,
            "added_ms_p50": round(1e3 * self.added, 2),
            "latency_ms_p50": round(1e3 * median(latencies), 2),
            "latency_ms_p99": round(1e3 * percentile(latencies, 99), 2),
            "behind_ms_p50": round(1e3 * median(median(alone.latencies) for alone in self.alone), 2),
            "requests_per_second": round(self.rate, 1),
            "spread": [round(bound(load.rate for load in self.loads), 1) for bound in (min, max)],
        }


def through(door: Door, mode: Mode, stream: bool) -> Ask:
    """How to ask a server."""
    turns = [{"role": "user", "content": QUESTION}]
    asked = {"model": f"{MODEL}:{mode}", "messages": turns, "temperature": 0, "max_tokens": MAX_TOKENS, "stream": stream}
    body = json.dumps(asked).encode()
    return lambda count, concurrency: asyncio.run(ask_all(door, [body] * count, concurrency))


@dataclass(frozen=True, slots=True)
class Doors:
    """Where everybody is."""

    ours: Door
    real: Door
    theirs: Door
    stub: Door


@contextmanager
def doors(litellm: Path, answers: dict[str, Any], console: Console) -> Iterator[Doors]:
    """Everybody running at once, each in one process; who is not asked waits."""
    with place(Settings.read(os.environ), here=False) as settings, open_database(settings, console.print) as urls:
        file, logs = settings.home / "answers.json", settings.home / "log"
        file.write_text(json.dumps(answers), encoding="utf-8")
        environ = environ_of(settings)
        with (
            guest(settings, urls, TENANT, "bench") as key,
            gateway_process(logs / "ours.log", environ, REPLAYING) as ours,
            gateway_process(logs / "real.log", environ, SERVE) as real,
            gateway_process(logs / "stub.log", environ, (*UPSTREAM, str(file))) as stub,
        ):
            config = settings.home / "litellm.yaml"  # JSON is YAML
            config.write_text(json.dumps(configured(f"{stub.url}/v1", list(answers))), encoding="utf-8")
            command = (str(litellm), "--config", str(config), "--num_workers", "1")
            with gateway_process(logs / "theirs.log", alone(environ), command, "/health/readiness") as theirs:
                bearer = {"authorization": f"Bearer {key}"}
                yield Doors(
                    Door(ours.url + CHAT, bearer),
                    Door(real.url + CHAT, bearer),
                    Door(theirs.url + CHAT, {"authorization": f"Bearer {MASTER_KEY}"}),
                    Door(stub.url + CHAT, {}),
                )


def configured(upstream: str, models: Sequence[str]) -> dict[str, Any]:
    """LiteLLM's configuration: one key, no database, no callbacks, one upstream."""
    behind = {"api_base": upstream, "api_key": "sk-the-stub-asks-for-none"}
    return {
        "model_list": [{"model_name": name, "litellm_params": {"model": f"openai/{name}", **behind}} for name in models],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"telemetry": False},
    }


def alone(environ: dict[str, str]) -> dict[str, str]:
    """An environment in which LiteLLM finds its own packages only, logs errors only and asks nothing of the internet."""
    kept = {name: text for name, text in environ.items() if not name.startswith(("PALIMPSEST_", "PYTHONPATH"))}
    return kept | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1"}


def race(entered: Sequence[Contest], requests: int, repeats: int, tell: Callable[[str], None]) -> None:
    """Warm everybody up, then let them take turns `repeats` times. `tell` hears of each run before it begins."""
    for turn in range(-1, repeats):
        for contest in entered:
            what = "warm-up" if turn < 0 else f"{turn + 1} of {repeats}"
            tell(f"{what}: {contest.peer.partition(',')[0]}, {contest.mode}, {contest.concurrency} at a time")
            contest.run(requests if turn >= 0 else 0)
    for contest in entered:
        del contest.loads[0], contest.alone[0]


def compared(entered: Sequence[Contest]) -> list[dict[str, Any]]:
    """LiteLLM's figures over ours, by setting; `added_ratio` of 5 means that we add a fifth."""
    found = {(each.mode, each.stream, each.concurrency, each.peer): each for each in entered}
    return [
        {
            "answer": ours.mode.value,
            "stream": ours.stream,
            "concurrency": ours.concurrency,
            "added_ratio": round(theirs.added / ours.added, 2),
            "rate_ratio": round(ours.rate / theirs.rate, 2),
        }
        for ours in entered
        if ours.peer == OURS
        for theirs in [found[ours.mode, ours.stream, ours.concurrency, THEIRS]]
    ]


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    caption = "\n".join(f"{name}: {what}" for name, what in LABELS.items())
    heads = ("gateway", "answer", "how", "n", "added ms", "p50 ms", "p99 ms", "behind ms", "requests/s")
    table = Table(*heads, caption=caption, caption_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for row in rows:
        figures = (row[name] for name in ("added_ms_p50", "latency_ms_p50", "latency_ms_p99", "behind_ms_p50"))
        low, high = row["spread"]
        rate = f"{row['requests_per_second']:.0f} ({low:.0f} - {high:.0f})"
        about = (row["peer"], row["answer"], "stream" if row["stream"] else "whole", str(row["concurrency"]))
        table.add_row(*about, *map(str, figures), rate)
    return table


def _version_of(litellm: Path) -> str:
    program = "from importlib.metadata import version; print(version('litellm'))"
    command = [str(litellm.parent / "python"), "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway_peers", description="our gateway beside LiteLLM's")
    parser.add_argument("--litellm", type=Path, required=True, help="its program, in a virtual environment of its own")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--requests", type=int, default=320, choices=range(1, 100_001), metavar="N")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 101), metavar="N")
    parser.add_argument("--busy", action="store_true", help="measure on a loaded machine, and say so in the JSON")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    asked_for, load_average, console = _arguments(), os.getloadavg()[0], Console()
    if why := refusal(load_average, asked_for.busy):
        raise SystemExit(why)
    os.environ["PALIMPSEST_CHECKPOINT"] = str(TINY)
    model = load(TINY)
    recorded = recordings(model)
    engine, replay = Engine(model), Replay(recorded)
    answers = {f"{MODEL}:{mode}": each.told(model) for mode, each in recorded.items()}
    with doors(asked_for.litellm, answers, console) as everybody, Progress(console=console, auto_refresh=False) as progress:
        entered = [
            Contest(peer, mode, stream, concurrency, through(door, mode, stream), behind, share / (1 if concurrency > 1 else 4))
            for mode in MODES
            for stream in (False, True)
            for concurrency in CONCURRENCIES
            for peer, door, behind, share in (
                (OURS, everybody.ours, direct(replay, partial(wanted, model, mode)), 1.0),
                (THEIRS, everybody.theirs, through(everybody.stub, mode, stream), 1.0),
                (REAL, everybody.real, direct(engine, partial(wanted, model, mode)), REAL_SHARE),
            )
        ]
        bar = progress.add_task("", total=len(entered) * (asked_for.repeats + 1))
        race(
            entered,
            asked_for.requests,
            asked_for.repeats,
            lambda what: progress.update(bar, advance=1, description=what, refresh=True),
        )
    rows, ratios = [contest.row() for contest in entered], compared(entered)
    console.print(_table(rows))
    result = {
        "cpu": cpu_name(),
        "processors": os.cpu_count(),
        "litellm": _version_of(asked_for.litellm),
        "load_at_start": round(load_average, 2),
        "busy": asked_for.busy,
        "requests": asked_for.requests,
        "repeats": asked_for.repeats,
        "events_with_text": {mode.value: len(each.pieces(model)) for mode, each in recorded.items()},
        "rows": rows,
        "labels": LABELS,
        "litellm_over_ours": ratios,
    }
    console.print("LiteLLM's added latency over ours, and our requests/s over LiteLLM's:", ratios, highlight=False)
    write_json(asked_for.json, result)


if __name__ == "__main__":
    main()
