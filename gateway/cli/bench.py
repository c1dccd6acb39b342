"""`palimpsest bench`: the economics on the user's own hardware and prompts."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them, and the threads are counted before torch is there

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import rich_click as click

from gateway.cli.failure import CommandFailed
from gateway.cli.json_file import json_option, require_folder
from gateway.cli.number import Number
from gateway.json_file import write_json

ROWS = ("ar", "diffusion", "linear_spec", "quadratic_spec", "auto", "mixed")
CONCURRENCY_MOST = 1024
IDLE = 0.5
"""A one-minute load average above this is a machine at work: its figures would be someone else's."""


def refusal(load_average: float, busy: bool) -> str | None:
    """Why the figures would mean nothing, or None."""
    if busy or load_average <= IDLE:
        return None
    return f"the load average is {load_average:.2f}, above {IDLE}: wait for an idle machine, or say --busy and have it recorded"


def starting(json_file: Path | None, threads: int, busy: bool) -> float:
    """The load average with which a benchmark starts; torch's threads are counted from here on.

    Raises CommandFailed on a busy machine, or for a result file that could not be written.
    """
    load_average = os.getloadavg()[0]
    if why := refusal(load_average, busy):
        raise CommandFailed(why)
    require_folder(json_file)
    count_threads(threads)
    return load_average


def count_threads(threads: int) -> None:
    """Have torch compute in exactly so many threads. It asks once, when it is first imported, so this must come before.

    Raises CommandFailed when it is there already.
    """
    if "torch" in sys.modules:
        raise CommandFailed("torch is loaded and has counted its threads: run the benchmark in a process of its own")
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), MKL_DYNAMIC="FALSE")


def counts(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Whole numbers between commas, in order and without doubles. Raises BadParameter for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 6 and 1 <= int(part) <= CONCURRENCY_MOST for part in parts):
        message = f"{text!r}: give whole numbers from 1 to {CONCURRENCY_MOST}, such as 1,16"
        raise click.BadParameter(message, ctx=context, param=parameter)
    return tuple(sorted(set(map(int, parts))))


def device(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """A device as torch names it. Raises BadParameter for anything else."""
    from gateway.settings import SettingsError, device_name

    try:
        return device_name(text)
    except SettingsError as error:
        raise click.BadParameter(str(error), ctx=context, param=parameter) from error


def checkpoint_folder(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Path | None:
    """A folder that a checkpoint may be in. Raises BadParameter, which names the option, for any other."""
    if folder is not None and not (folder / "config.json").is_file():
        raise click.BadParameter(f"{folder} is no checkpoint: it has no config.json", ctx=context, param=parameter)
    return folder


threads_option: Final = click.option(
    "--threads", default=2, type=click.IntRange(1, 1024), show_default=True, help="Threads that torch computes in."
)
numeric_option: Final = click.option(
    "--numeric", default="fast", type=click.Choice(["fast", "strict"]), show_default=True, help="Numeric policy."
)
checkpoint_option: Final = click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    callback=checkpoint_folder,
    help="The model's folder. Default: PALIMPSEST_CHECKPOINT, else the tiny one.",
)


@click.group(
    epilog="Examples:\n\n  palimpsest bench modes --prompts questions.txt\n\n  palimpsest bench gateway --json gateway.json\n\n"
    "The machine has to be idle; --busy measures all the same, and says so in the JSON."
)
def bench() -> None:
    """Measure on this machine: what each way to decode buys (modes), and what log, gateway and kernels cost or reach."""


@bench.command(
    epilog="Examples:\n\n  palimpsest bench modes\n\n  palimpsest bench modes --mode ar --mode linear_spec --block 32\n\n"
    "  palimpsest bench modes --prompts questions.txt --concurrency 1,4,16 --json modes.json\n\n"
    "  palimpsest bench modes --numeric strict --repeats 1 --questions 4 --busy\n\n"
    "  palimpsest bench modes --device cuda --checkpoint models/8B"
)
@json_option
@numeric_option
@click.option("--dtype", type=click.Choice(["bf16", "fp32"]), help="Default: bf16 if fast and the processor has it, else fp32.")
@click.option(
    "--device", default="cpu", callback=device, metavar="cpu|cuda|cuda:N", show_default=True, help="Where the model runs."
)
@threads_option
@click.option("--repeats", default=5, type=click.IntRange(1, 100), show_default=True, help="Runs of each row, in turn.")
@click.option("--questions", default=32, type=click.IntRange(1, 10_000), show_default=True, help="At most so many prompts.")
@click.option(
    "--concurrency",
    default="1,16",
    callback=counts,
    metavar="N,N",
    show_default=True,
    help="How many answers are under way at once.",
)
@click.option("--block", default=16, type=click.IntRange(1, 32), show_default=True, help="Block length; quadratic: at most 8.")
@click.option("--mode", "rows", multiple=True, type=click.Choice(ROWS), help="Only these rows. Default: all.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Your own prompts instead of the built-in questions: one a line, in a .jsonl file as a JSON string.",
)
@checkpoint_option
@click.option("--max-tokens", default=96, type=click.IntRange(1, 1 << 20), show_default=True, help="Longest answer.")
@click.option("--busy", is_flag=True, help="Measure on a loaded machine too, and say so in the JSON.")
def modes(
    json_file: Path | None,
    numeric: str,
    threads: int,
    rows: tuple[str, ...],
    checkpoint: Path | None,
    busy: bool,
    **others: Any,
) -> None:
    """Ask the same prompts in every mode, one at a time and many at once, and print what each mode buys.

    The engine runs in this process, without gateway and database. Rows take turns, so that a drifting machine hits all of
    them; figures are medians. `mixed` has all four modes in one batch.
    """
    load_average = starting(json_file, threads, busy)

    from rich.console import Console

    from engine.errors import EngineError
    from engine.request import Numeric
    from gateway.bench.errors import BenchError
    from gateway.bench.modes import Wish, run
    from gateway.settings import Settings

    asked = Wish(
        checkpoint=checkpoint or Settings.read(os.environ).checkpoint,
        numeric=Numeric(numeric),
        rows=[row for row in ROWS if row in (rows or ROWS)],
        threads=threads,
        load_average=load_average,
        busy=busy,
        **others,
    )
    try:
        result = run(asked, Console())
    except (BenchError, EngineError) as error:
        raise CommandFailed(str(error)) from error
    write_json(json_file, result)


@bench.command(
    epilog="Examples:\n\n  palimpsest bench audit\n\n  PALIMPSEST_NUMERIC=fast palimpsest bench audit --mode linear_spec\n\n"
    "  palimpsest bench audit --ignore-eos --max-tokens 512 --questions 32\n\n"
    "  PALIMPSEST_DATABASE_URL=... palimpsest bench audit --here --json audit.json"
)
@json_option
@click.option("--mode", default="diffusion", type=click.Choice(ROWS[:4]), show_default=True, help="How answers are decoded.")
@click.option("--block", default=16, type=click.IntRange(1, 32), show_default=True, help="Block length; quadratic: at most 8.")
@click.option("--max-tokens", default=96, type=click.IntRange(1, 1 << 20), show_default=True, help="Longest answer.")
@click.option("--ignore-eos", is_flag=True, help="Every answer has --max-tokens, wherever the model would have ended it.")
@click.option("--questions", default=128, type=click.IntRange(1, 10_000), show_default=True, help="Answers of each run.")
@click.option("--concurrency", default=16, type=click.IntRange(1, 512), show_default=True, help="Answers under way at once.")
@click.option("--streams", default=64, type=click.IntRange(1, 4096), show_default=True, help="Synthetic streams of records.")
@click.option("--seconds", default=5.0, type=Number(0.1, 600), show_default=True, help="Length of a synthetic run.")
@click.option("--repeats", default=5, type=click.IntRange(1, 100), show_default=True, help="Runs of everything, in turn.")
@threads_option
@click.option("--here", is_flag=True, help="Use the configured database and keys; its log keeps the benchmark's records.")
@click.option("--busy", is_flag=True, help="Measure on a loaded machine too, and say so in the JSON.")
def audit(json_file: Path | None, mode: str, threads: int, busy: bool, **others: Any) -> None:
    """What the log costs: engine alone, gateway that keeps nothing, gateway with its log; and what the log alone can take.

    The engine computes as PALIMPSEST_NUMERIC says (strict unless set), as the gateway would.
    """
    load_average = starting(json_file, threads, busy)

    from rich.console import Console

    from audit.errors import AuditError
    from engine.errors import EngineError
    from engine.request import Mode
    from gateway.bench.audit import AuditWish, run
    from gateway.bench.errors import BenchError
    from gateway.settings import Settings

    asked = AuditWish(mode=Mode(mode), threads=threads, load_average=load_average, busy=busy, **others)
    try:
        result = run(asked, Settings.read(os.environ), Console())
    except (AuditError, BenchError, EngineError) as error:
        raise CommandFailed(str(error)) from error
    write_json(json_file, result)


@bench.command(
    epilog="Examples:\n\n  palimpsest bench gateway\n\n  palimpsest bench gateway --mode ar --json gateway.json\n\n"
    "  PALIMPSEST_DATABASE_URL=... palimpsest bench gateway --here"
)
@json_option
@click.option("--mode", default="linear_spec", type=click.Choice(ROWS[:4]), show_default=True, help="How answers are decoded.")
@click.option("--block", default=16, type=click.IntRange(1, 32), show_default=True, help="Block length; quadratic: at most 8.")
@click.option("--max-tokens", default=32, type=click.IntRange(1, 1 << 20), show_default=True, help="Longest answer.")
@click.option(
    "--pairs", default=200, type=click.IntRange(2, 10_000), show_default=True, help="Questions for the added latency."
)
@click.option("--requests", default=320, type=click.IntRange(1, 100_000), show_default=True, help="Requests for each rate.")
@click.option(
    "--concurrency", default="1,16,64", callback=counts, metavar="N,N", show_default=True, help="Requests under way at once."
)
@threads_option
@click.option("--here", is_flag=True, help="Use the configured database and keys; its log keeps the benchmark's records.")
@click.option("--busy", is_flag=True, help="Measure on a loaded machine too, and say so in the JSON.")
def gateway(json_file: Path | None, mode: str, threads: int, busy: bool, **others: Any) -> None:
    """What the gateway adds to the engine, with durable audit on: latency of a request, and requests a second.

    The engine computes as PALIMPSEST_NUMERIC says (strict unless set), as the gateway would.
    """
    load_average = starting(json_file, threads, busy)

    from rich.console import Console

    from audit.errors import AuditError
    from engine.errors import EngineError
    from engine.request import Mode
    from gateway.bench.errors import BenchError
    from gateway.bench.gateway import GatewayWish, run
    from gateway.gateway_process import GatewayDown
    from gateway.settings import Settings

    asked = GatewayWish(mode=Mode(mode), threads=threads, load_average=load_average, busy=busy, **others)
    try:
        result = run(asked, Settings.read(os.environ), Console())
    except (AuditError, BenchError, EngineError, GatewayDown) as error:
        raise CommandFailed(str(error)) from error
    write_json(json_file, result)


@bench.command(
    epilog="Examples:\n\n  palimpsest bench kernels --compile\n\n  palimpsest bench kernels --json kernels.json\n\n"
    "Without a CUDA device the second prints that nothing was measured."
)
@json_option
@click.option("--compile", "compile_all", is_flag=True, help="Compile every kernel for sm_80, sm_90 and sm_100; needs no GPU.")
def kernels(json_file: Path | None, compile_all: bool) -> None:
    """What the GPU kernels reach, in bytes and operations a second, beside a copy and a product on the same device.

    With --compile also what each takes of a processor: registers, spilled bytes, shared memory.
    """
    require_folder(json_file)

    from rich.console import Console

    from gateway.bench.errors import BenchError
    from gateway.bench.kernels import run

    try:
        result = run(compile_all, Console())
    except BenchError as error:
        raise CommandFailed(str(error)) from error
    write_json(json_file, result)
