"""Greedy `ar` and transformers, side by side: the same weights, prompts, dtype and threads, in one process.

    python -m tests.bench.peers [--json FILE] [--repeats N] [--dtype bf16|fp32|both] [--threads 2] [--busy]

Within each repeat the peers take turns, so that a drifting clock or a neighbour hits all of them. A rate is real output tokens,
up to and including the stop id, per second of wall time from prompt ids to output ids.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from engine.engine import Engine
from engine.events import Admitted, Event, Finished, FinishReason
from engine.model.checkpoint import LoadedModel, load
from engine.numeric import fast
from engine.request import Mode
from engine.train.grammar import Split, task
from engine.train.messages import Role
from gateway.bench.modes import cpu_name
from gateway.cli.bench import refusal
from gateway.json_file import write_json
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import asked
from tests.engine.llama import llama
from tests.engine.small import TINY

if TYPE_CHECKING:
    from transformers import GenerationConfig, LlamaForCausalLM

Prompt = tuple[int, ...]

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
CONCURRENCIES = (1, 16)
PROMPTS = 32
MAX_TOKENS = 96
BLOCK = 16
COMPILED = "transformers generate, static cache, compiled"


@dataclass(frozen=True, slots=True)
class Timing:
    """One run over all prompts: output tokens and wall seconds."""

    tokens: int
    seconds: float


class Peer(Protocol):
    """Somebody who answers prompts; `dtype` is torch's name of what it computes in, known once it has run."""

    name: str
    dtype: str

    def run(self, prompts: Sequence[Prompt], concurrency: int) -> Timing:
        """Answer every prompt, at most `concurrency` at a time. Raises whatever keeps the peer from doing so."""
        ...


class Ours:
    """Our engine, driven by one thread; the next prompt goes in as soon as an answer ends."""

    def __init__(self, engine: Engine, stop: int, max_tokens: int) -> None:
        self.name, self.dtype = "ours ar", ""
        self._engine, self._stop, self._max_tokens = engine, stop, max_tokens

    def run(self, prompts: Sequence[Prompt], concurrency: int) -> Timing:
        # Salts of its own, since transformers keeps nothing of one run for the next either.
        common = {"block": BLOCK, "stop": (self._stop,), "modes_permitted": frozenset({Mode.AR}), "cache_salt": uuid4().hex}
        requests = [asked(Mode.AR, prompt, self._max_tokens, **common) for prompt in prompts]
        waiting = iter(requests)
        tokens = running = 0
        started = perf_counter()
        while True:
            for request in islice(waiting, concurrency - running):
                self._engine.submit(request)
                running += 1
            if not running:
                return Timing(tokens, perf_counter() - started)
            for ended in self._ended(self._engine.step()):
                tokens += ended.tokens
                running -= 1

    def _ended(self, events: Sequence[Event]) -> Iterator[Finished]:
        for event in events:
            if isinstance(event, Admitted):  # the engine's own word for what it runs under
                self.name, self.dtype = f"ours ar, {event.numeric}", event.dtype
            elif isinstance(event, Finished):
                if event.reason not in {FinishReason.STOP, FinishReason.LENGTH}:
                    raise RuntimeError(f"our generation ended by {event.reason}")
                yield event


class Generate:
    """transformers' `generate()`: one prompt after another, or padded batches of `concurrency` prompts."""

    def __init__(self, name: str, given: LoadedModel, dtype: torch.dtype, attention: str, config: GenerationConfig) -> None:
        self.name, self.dtype = name, _dtype_name(dtype)
        self._model = _llama(given, dtype)
        self._model.set_attn_implementation(attention)
        self._config, self._stop = config, given.config.eos_token_id

    def run(self, prompts: Sequence[Prompt], concurrency: int) -> Timing:
        started = perf_counter()
        with torch.inference_mode():
            tokens = sum(self._batch(prompts[at : at + concurrency]) for at in range(0, len(prompts), concurrency))
        return Timing(tokens, perf_counter() - started)

    def _batch(self, prompts: Sequence[Prompt]) -> int:
        """Output tokens of one batch, padded on the left."""
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        whole = self._model.generate(ids, attention_mask=mask, generation_config=self._config)
        return sum(_length(row, self._stop) for row in whole[:, width:].tolist())


class Continuous:
    """transformers' continuous batching. Its manager starts before the clock and ends after it, as a server's would."""

    def __init__(self, given: LoadedModel, dtype: torch.dtype, config: GenerationConfig) -> None:
        self.name, self.dtype = "transformers continuous batching", _dtype_name(dtype)
        self._model, self._config, self._stop = _llama(given, dtype), config, given.config.eos_token_id

    def run(self, prompts: Sequence[Prompt], concurrency: int) -> Timing:
        from transformers import ContinuousBatchingConfig  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

        # A page is longer than any prompt here and nothing is shared, so no prompt profits from the one before.
        batching = ContinuousBatchingConfig(
            num_blocks=4 * concurrency, max_batch_tokens=1024, max_requests_per_batch=concurrency, allow_block_sharing=False
        )
        with self._model.continuous_batching_context_manager(self._config, continuous_batching_config=batching) as manager:
            started = perf_counter()
            manager.add_requests([list(prompt) for prompt in prompts], max_new_tokens=self._config.max_new_tokens)
            tokens = sum(_length(answer, self._stop) for answer in self._answers(manager, len(prompts)))
            return Timing(tokens, perf_counter() - started)

    @staticmethod
    def _answers(manager: Any, count: int) -> Iterator[list[int]]:
        """The ids of `count` answers, as they end."""
        while count:
            result = manager.get_result(timeout=1)
            if result is None and not manager.is_running():
                raise RuntimeError(f"continuous batching stopped with {count} answers missing")
            if result is not None and result.error:
                raise RuntimeError(result.error)
            if result is not None and result.is_finished():
                count -= 1
                yield result.generated_tokens


def _length(answer: list[int], stop: int) -> int:
    """Tokens up to and including the stop id; what follows it is padding."""
    return answer.index(stop) + 1 if stop in answer else len(answer)


def _llama(given: LoadedModel, dtype: torch.dtype) -> LlamaForCausalLM:
    model = llama(given)
    torch.nn.Module.to(model, dtype)
    return model


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def ours(given: LoadedModel, dtype: torch.dtype, max_tokens: int = MAX_TOKENS) -> Ours:
    """Our engine at its fastest in `dtype`."""
    return Ours(Engine(given, fast(dtype)), given.config.eos_token_id, max_tokens)


def theirs(given: LoadedModel, dtype: torch.dtype, max_tokens: int = MAX_TOKENS) -> list[Peer]:
    """transformers in every shape that might be its fastest on a CPU; all answer greedily and never pick the mask id."""
    from transformers import CompileConfig, GenerationConfig  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    def config(**cache: Any) -> GenerationConfig:
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=given.config.eos_token_id,
            pad_token_id=0,
            suppress_tokens=[given.config.mask_token_id],
            **cache,
        )

    compiled = CompileConfig(mode="default")
    # Without this `generate()` compiles on accelerators only.
    compiled._compile_all_devices = True  # type: ignore[assignment]
    return [
        Generate("transformers generate", given, dtype, "sdpa", config()),
        Generate("transformers generate, eager attention", given, dtype, "eager", config()),
        Generate("transformers generate, static cache", given, dtype, "sdpa", config(cache_implementation="static")),
        Generate(COMPILED, given, dtype, "sdpa", config(cache_implementation="static", compile_config=compiled)),
        Continuous(given, dtype, config()),
    ]


def questions(given: LoadedModel, count: int = PROMPTS) -> list[Prompt]:
    """Held-out questions of the tiny checkpoint's task, as ids of a chat."""
    texts = [task(6_000_000 + n, Split.HELD_OUT).prompt for n in range(count)]
    return [tuple(render_chat(given.tokenizer, [Message(Role.USER, text)])) for text in texts]


@dataclass(slots=True)
class Contest:
    """One peer at one concurrency: what it took each time, or why it could not run."""

    peer: Peer
    concurrency: int
    timings: list[Timing] = field(default_factory=list)
    error: str = ""

    def warm_up(self, prompts: Sequence[Prompt]) -> None:
        """Run once, longest prompt first, so that every cache and compiled shape has its final size."""
        try:
            self.peer.run(sorted(prompts, key=len, reverse=True), self.concurrency)
        except Exception as fault:  # noqa: BLE001 - a peer that cannot run here is a row of the result, not its end
            self.error = f"{type(fault).__name__}: {fault}"

    @property
    def rate(self) -> float:
        """Output tokens per second, median over the runs."""
        return median(timing.tokens / timing.seconds for timing in self.timings)

    def row(self, best: float | None) -> dict[str, Any]:
        """The result as JSON has it; `best` is transformers' fastest rate beside it."""
        who = {"peer": self.peer.name, "dtype": self.peer.dtype, "concurrency": self.concurrency}
        if self.error:
            return who | {"error": self.error}
        rates = [timing.tokens / timing.seconds for timing in self.timings]
        return who | {
            "tokens_per_second": round(self.rate, 1),
            "spread": [round(min(rates), 1), round(max(rates), 1)],
            "tokens": self.timings[-1].tokens,
            "ratio_to_best_transformers": round(self.rate / best, 3) if best else None,
        }


def contests(mine: Peer, others: Sequence[Peer], concurrencies: Sequence[int] = CONCURRENCIES) -> list[Contest]:
    """Everybody at every concurrency; batching one prompt at a time is no contest."""
    return [
        Contest(peer, concurrency)
        for concurrency in concurrencies
        for peer in (mine, *others)
        if concurrency > 1 or not isinstance(peer, Continuous)
    ]


def race(
    entered: Sequence[Contest], prompts: Sequence[Prompt], repeats: int, tell: Callable[[str], None] = lambda what: None
) -> list[dict[str, Any]]:
    """Warm everybody up, then let them take turns `repeats` times; the rows, in the order of `entered`.

    `tell` hears of each run before it begins.
    """
    for contest in entered:
        tell(f"warm-up: {contest.peer.name}, {contest.concurrency} at a time")
        contest.warm_up(prompts)
    runners = [contest for contest in entered if not contest.error]
    for turn in range(repeats):
        for contest in runners:
            tell(f"{turn + 1} of {repeats}: {contest.peer.name}, {contest.concurrency} at a time")
            contest.timings.append(contest.peer.run(prompts, contest.concurrency))
    best: dict[int, float] = {}
    for contest in runners:
        if not isinstance(contest.peer, Ours):
            best[contest.concurrency] = max(contest.rate, best.get(contest.concurrency, 0.0))
    return [contest.row(best.get(contest.concurrency)) for contest in entered]


def report(rows: list[dict[str, Any]], threads: int, dtypes: Sequence[str], load_average: float, busy: bool) -> dict[str, Any]:
    """The whole result with the circumstances that it depends on."""
    import transformers  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    return {
        "device": "cpu",
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "dtype": list(dtypes),
        "threads": threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "load_at_start": round(load_average, 2),
        "busy": busy,
        "prompts": PROMPTS,
        "max_tokens": MAX_TOKENS,
        "rows": rows,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        Column("peer", min_width=28),
        "dtype",
        "at a time",
        "tokens/s",
        "min - max",
        "ms/token",
        "tokens",
        "to best transformers",
    )
    for row in rows:
        who = [row["peer"], row["dtype"], str(row["concurrency"])]
        if "error" in row:
            table.add_row(*who, row["error"])
            continue
        rate, (low, high), ratio = row["tokens_per_second"], row["spread"], row["ratio_to_best_transformers"]
        ratio_text = "-" if ratio is None else f"{ratio:.2f}"
        table.add_row(*who, f"{rate:.0f}", f"{low:.0f} - {high:.0f}", f"{1000 / rate:.2f}", str(row["tokens"]), ratio_text)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description="greedy ar beside transformers")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 101), metavar="N")
    parser.add_argument("--dtype", default="both", choices=[*DTYPES, "both"])
    parser.add_argument("--threads", type=int, default=2, choices=range(1, 1025), metavar="N")
    parser.add_argument("--busy", action="store_true", help="measure on a loaded machine, and say so in the JSON")
    return parser.parse_args()


def _measured(given: LoadedModel, name: str, repeats: int, console: Console) -> list[dict[str, Any]]:
    """The rows of one dtype, with progress on `console`."""
    entered = contests(ours(given, DTYPES[name]), theirs(given, DTYPES[name]))
    with Progress(console=console) as progress:
        bar = progress.add_task(name, total=len(entered) * (repeats + 1))
        return race(entered, questions(given), repeats, lambda what: progress.update(bar, advance=1, description=what))


def main() -> None:
    """The command line."""
    import transformers  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    asked_for, load_average, console = _arguments(), os.getloadavg()[0], Console()
    if why := refusal(load_average, asked_for.busy):
        raise SystemExit(why)
    torch.set_num_threads(asked_for.threads)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    given = load(TINY)
    names = list(DTYPES) if asked_for.dtype == "both" else [asked_for.dtype]
    rows = [row for name in names for row in _measured(given, name, asked_for.repeats, console)]
    console.print(_table(rows))
    write_json(asked_for.json, report(rows, torch.get_num_threads(), names, load_average, asked_for.busy))


if __name__ == "__main__":
    main()
