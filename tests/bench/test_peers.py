"""The laws of the comparison: equal work for everybody, and honest rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from engine.model.checkpoint import load
from tests.bench.peers import COMPILED, Contest, Peer, Timing, contests, ours, questions, race, theirs
from tests.engine.small import TINY


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: on a busy machine two would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.long
@pytest.mark.usefixtures("one_thread")
def test_everybody_does_the_same_work() -> None:
    """In float32 every peer, at every concurrency, answers the same prompts with the same number of real tokens."""
    given = load(TINY)
    prompts = questions(given, 2)
    short, long = sorted(ours(given, torch.float32).run([prompt], 1).tokens for prompt in prompts)
    most = (short + long) // 2
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    others = [peer for peer in theirs(given, torch.float32, max_tokens=most) if peer.name != COMPILED]
    rows = race(contests(ours(given, torch.float32, max_tokens=most), others, (1, 2)), prompts, repeats=1)
    assert {row["peer"]: row["error"] for row in rows if "error" in row} == {}
    assert len(rows) == 9
    # One is cut, the other's stop is honoured, and padding is not counted.
    assert short < most < long and {row["tokens"] for row in rows} == {short + most}
    assert all(row["tokens_per_second"] > 0 and row["dtype"] == "float32" for row in rows)


class _Paced:
    """A peer with a fixed rate for each of its runs."""

    dtype = "float32"

    def __init__(self, name: str, *rates: int) -> None:
        self.name, self._rates = name, iter(rates)

    def run(self, prompts: object, concurrency: int) -> Timing:
        return Timing(next(self._rates), 1.0)


class _Unfit:
    """A peer that cannot run here."""

    name, dtype = "unfit", "float32"

    def run(self, prompts: object, concurrency: int) -> Timing:
        raise RuntimeError("no such device")


def test_rows() -> None:
    """A row holds the median, the extremes and the ratio to the fastest peer; what cannot run says why."""
    peers: list[Peer] = [_Paced("slow", 900, 10, 30, 20), _Unfit(), _Paced("fast", 900, 50, 40, 60)]
    slow, unfit, fast = race([Contest(peer, 1) for peer in peers], [(1, 2)], repeats=3)
    assert slow["tokens_per_second"] == 20 and slow["spread"] == [10, 30] and slow["ratio_to_best_transformers"] == 0.4
    assert fast["tokens_per_second"] == 50 and fast["ratio_to_best_transformers"] == 1
    assert unfit == {"peer": "unfit", "dtype": "float32", "concurrency": 1, "error": "RuntimeError: no such device"}
