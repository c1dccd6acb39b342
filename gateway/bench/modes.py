"""`palimpsest bench modes` as it runs: the model, the prompts, the race with its progress, and the result."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.engine import Engine
from engine.library import LibraryPass
from engine.model.checkpoint import LoadedModel, load
from engine.model.network import HOST
from engine.numeric import STRICT, STRICT_THREADS, Arithmetic, arithmetic, dtype_name, fast
from engine.request import Numeric
from engine.scheduler import Capacity
from engine.train.execution import Outcome, judge, require_jail
from engine.train.grammar import Split, Task, task
from gateway.bench.errors import BenchError
from gateway.bench.lanes import Answer, Course, Lane, Prompt, Run, lanes, race
from gateway.bench.table import DEFINITIONS, Measured, Standings, row, tables

FIRST_QUESTION: Final = 6_000_000
PROMPT_FILE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. `dtype` None is what the numeric policy likes best; `prompts` None are the built-in questions.

    `threads` and `load_average` are only recorded here: the first is settled before torch is loaded, the second was judged.
    """

    checkpoint: Path
    numeric: Numeric
    dtype: str | None
    device: str
    threads: int
    repeats: int
    rows: Sequence[str]
    concurrency: Sequence[int]
    block: int
    max_tokens: int
    questions: int
    prompts: Path | None
    load_average: float
    busy: bool


def run(wish: Wish, console: Console) -> dict[str, Any]:
    """The whole benchmark, with progress and tables on `console`; returns the JSON.

    Raises CheckpointError, InvalidRequest, JailUnavailable or BenchError when it cannot be run as it was asked for.
    """
    if not wish.prompts:
        require_jail()  # rather than when everything has been measured
    model = load(wish.checkpoint, device=wish.device)
    tasks = [] if wish.prompts else questions(wish.questions)
    texts = read_prompts(wish.prompts, wish.questions) if wish.prompts else [each.prompt for each in tasks]
    running = max(*wish.concurrency, Capacity().running)
    numeric = on_device(wish, model) or arithmetic_of(wish.numeric, wish.dtype)
    engine = Engine(model, numeric, Capacity(running=running))
    if engine.kernels == LibraryPass.kernels and wish.numeric is Numeric.STRICT and wish.threads > STRICT_THREADS:
        raise BenchError(f"without a compiler strict numerics run on {STRICT_THREADS} threads at most: say so with --threads")
    prompts = [as_chat(model, text) for text in texts]
    course = Course(engine, prompts, wish.max_tokens, model.config.eos_token_id)
    runs = _race(course, lanes(wish.rows, wish.concurrency, wish.block), wish.repeats, console)
    standings = Standings([Measured(lane, own) for lane, own in runs.items()])
    passed = judged(model, tasks) if tasks else None
    rows = [row(standings, measured, passed) for measured in standings.measured]
    for table in tables(rows):
        console.print(table)
    return _document(wish, engine, model, prompts, rows)


def _race(course: Course, entered: Sequence[Lane], repeats: int, console: Console) -> dict[Lane, list[Run]]:
    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Drawn between runs only: a thread that draws would take its share of the clock.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("", total=len(entered) * (repeats + 1), completed=-1)
        told = race(course, entered, repeats, lambda what: progress.update(bar, advance=1, description=what, refresh=True))
        progress.update(bar, advance=1, description="done", refresh=True)
    return told


def judged(model: LoadedModel, tasks: Sequence[Task]) -> Callable[[Answer], bool]:
    """Whether an answer's code passes the hidden cases of its question; equal answers are run once."""
    known: dict[tuple[int, str], bool] = {}

    def passed(answer: Answer) -> bool:
        key = (answer.place, model.tokenizer.decode(answer.ids))
        if key not in known:
            known[key] = judge(key[1], tasks[answer.place]).outcome is Outcome.PASSED
        return known[key]

    return passed


def _document(
    wish: Wish, engine: Engine, model: LoadedModel, prompts: Sequence[Prompt], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "device": engine.kernels if model.device != HOST else "cpu",
        "cpu": cpu_name(),
        "dtype": engine.dtype,
        "numeric": engine.numeric.value,
        "threads": wish.threads,
        "model": model.name,
        "weights_digest": model.weights_digest,
        "fingerprint": engine.fingerprint,
        "python": platform.python_version(),
        "torch": version("torch"),
        "palimpsest": version("palimpsest"),
        "load_at_start": round(wish.load_average, 2),
        "busy": wish.busy,
        "repeats": wish.repeats,
        "prompts": len(prompts),
        "prompt_tokens": sum(map(len, prompts)),
        "max_tokens": wish.max_tokens,
        "definitions": DEFINITIONS,
        "rows": list(rows),
    }


def cpu_name() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def arithmetic_of(numeric: Numeric, dtype: str | None) -> Arithmetic:
    """The numeric policy in `bf16`, `fp32` or, for None, what it likes best here. Raises BenchError if it cannot be had."""
    if numeric is Numeric.STRICT:
        if dtype == "bf16":
            raise BenchError("strict numerics are float32 by definition: leave --dtype out, or say --numeric fast")
        return STRICT
    chosen = fast(STRICT.dtype if dtype == "fp32" else None)
    if dtype == "bf16" and dtype_name(chosen.dtype) != "bfloat16":
        raise BenchError("this processor does not multiply bfloat16 natively: say --dtype fp32")
    return chosen


def on_device(wish: Wish, model: LoadedModel) -> Arithmetic | None:
    """The numeric policy where the model is to run on a device. Raises BenchError for a dtype that is not computed there."""
    if model.device == HOST:
        return None
    if wish.dtype == "fp32":
        raise BenchError("a device computes in bfloat16: leave --dtype out")
    return arithmetic(wish.numeric, model.device)


def questions(count: int) -> list[Task]:
    """Held-out questions of the shipped checkpoint's task."""
    return [task(FIRST_QUESTION + place, Split.HELD_OUT) for place in range(count)]


def read_prompts(path: Path, most: int) -> list[str]:
    """The first `most` prompts of a UTF-8 file: its lines, in a `.jsonl` file the JSON string of each; blank ones are skipped.

    Raises BenchError when the file is no such thing, holds none, or is larger than 16 MiB.
    """
    with path.open("rb") as stream:
        content = stream.read(PROMPT_FILE_BYTES + 1)
    if len(content) > PROMPT_FILE_BYTES:
        raise BenchError(f"{path} is larger than {PROMPT_FILE_BYTES >> 20} MiB: leave the prompts that matter")
    try:
        found = list(islice(_prompts(content.decode("utf-8"), path.suffix == ".jsonl"), most))
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} cannot be read: one prompt a line in UTF-8, in a .jsonl file as a JSON string") from error
    if not found:
        raise BenchError(f"{path} holds no prompt: write one a line")
    return found


def _prompts(content: str, quoted: bool) -> Iterator[str]:
    for line in content.split("\n"):
        text = json.loads(line) if quoted and line.strip() else line
        if not isinstance(text, str):
            raise ValueError("not a string")
        if text.strip():
            yield text.strip()


def as_chat(model: LoadedModel, text: str) -> Prompt:
    """The ids of a conversation in which the user has just said `text`; for a base checkpoint those of the text alone."""
    if model.template is None:
        return tuple(model.tokenizer.encode(text))
    return tuple(model.template.render([{"role": "user", "content": text}]))
