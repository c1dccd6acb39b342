"""What the engine must keep on a device: asked of one by `make bench-cuda`, and of Triton's interpreter by the test suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from engine.device import OnDevice
from engine.engine import Engine
from engine.events import Event, SpecRound
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest, Mode, Numeric, Sampling
from tests.bench.laws import Law
from tests.engine.harness import asked, events_of, nameless, output, unbroken

GREEDY, WARM = Sampling(temperature=0.0, seed=0), Sampling(temperature=0.8, seed=3)


@dataclass(frozen=True, slots=True)
class EngineLaws:
    """The laws over a model and its like without a drafter LoRA; answers have `tokens` tokens."""

    given: LoadedModel
    bare: LoadedModel
    device: torch.device
    dtype: torch.dtype
    tokens: int

    def all(self) -> Iterator[Law]:
        """Every law."""
        yield Law("AR, linear and quadratic speculation say the same, greedy and warm", self._causal)
        yield Law("a request says alone what it says in company", self._company)
        yield Law("a generation that runs again is the same in every event", self._again)
        yield Law("drafts differ where the LoRA is on, and what is said does not", self._drafts)

    def _run(self, model: LoadedModel, *requests: GenerationRequest) -> list[list[Event]]:
        engine = Engine(model, OnDevice(Numeric.STRICT, self.device, self.dtype))
        events = events_of(engine, *requests)
        return [list(map(unbroken, events[request.id])) for request in requests]

    def _said(self, *requests: GenerationRequest) -> list[tuple[int, ...]]:
        return list(map(output, self._run(self.given, *requests)))

    def _causal(self) -> str | None:
        for sampling in (GREEDY, WARM):
            ways = (Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC)
            said = [self._said(asked(mode, tokens=self.tokens, sampling=sampling, block_length=4))[0] for mode in ways]
            if len(set(said)) > 1 or len(said[0]) != self.tokens:
                return f"at temperature {sampling.temperature}: {said}"
        return None

    def _company(self) -> str | None:
        requests = [
            asked(Mode.AR, prompt=tuple(range(2, 14)), tokens=self.tokens),
            asked(Mode.LINEAR_SPEC, tokens=self.tokens, sampling=WARM, block_length=4),
            asked(Mode.DIFFUSION, prompt=(7, 8), tokens=self.tokens, block_length=4),
            asked(Mode.QUADRATIC_SPEC, prompt=(3, 3, 3), tokens=self.tokens, block_length=3),
        ]
        together, alone = self._said(*requests), [self._said(request)[0] for request in requests]
        apart = [request.mode.value for request, one, other in zip(requests, together, alone, strict=True) if one != other]
        return f"not in {', '.join(apart)}" if apart else None

    def _again(self) -> str | None:
        request = asked(Mode.DIFFUSION, prompt=(9, 4), tokens=self.tokens, block_length=4)
        first, second = (nameless(self._run(self.given, request)[0]) for _ in range(2))
        return None if first == second else "the second run told other events"

    def _drafts(self) -> str | None:
        request = asked(Mode.LINEAR_SPEC, tokens=self.tokens, block_length=4)
        (drafted,), (plain,) = (self._run(model, request) for model in (self.given, self.bare))
        if output(drafted) != output(plain):
            return "the LoRA changed what was said"
        return None if _drafts_of(drafted) != _drafts_of(plain) else "every draft was the same"


def _drafts_of(events: list[Event]) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    return [(event.draft, event.draft_confidence) for event in events if isinstance(event, SpecRound)]
