"""The course of a generation as a reviewer steps through it: stages (a block, or a stretch of causal text) of frames.

A frame is one pass over the network: a denoising step, the causal pass that scores a block, a round of speculation; a run of
tokens that were decoded one by one is one frame, as it is one record. Each holds what the log holds, unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from audit.records import BlockTrace, Body, DecodeRun, GateVerdict, RequestOpen, SpecRounds, SpecRoundTrace
from audit.trace import Step, decode_steps

DIFFUSION: Final = "diffusion"
STRETCH: Final = 32
"""Output tokens of a stretch of causal text: the unit in which gates judge it."""


@dataclass(frozen=True, slots=True)
class Denoised:
    """One denoising step of a block."""

    number: int
    block: BlockTrace
    step: Step

    @property
    def start(self) -> int:
        """Absolute position of the first place."""
        return self.block.start

    @property
    def share(self) -> float:
        """Places that are resolved after it, of all."""
        left = sum(masked and not kept for masked, kept in zip(self.step.masked, self.step.committed, strict=True))
        return 1 - left / len(self.step.masked)


@dataclass(frozen=True, slots=True)
class Scored:
    """The causal pass over a whole block: what it thinks of each token, after which the block stands or is turned down."""

    number: int
    block: BlockTrace

    @property
    def start(self) -> int:
        """Absolute position of the first place."""
        return self.block.start

    @property
    def share(self) -> float:
        """Tokens that it would have picked too, of those that count."""
        counted = self.block.agreement[: self.block.emitted or None]
        return sum(counted) / len(counted) if counted else 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round of speculation; its first output token stands at place `ahead` of the draft: 1 after a seed, 0 without."""

    number: int
    told: SpecRoundTrace
    ahead: int

    @property
    def start(self) -> int:
        """Absolute position of the first place, that of `draft[0]`."""
        return self.told.start

    @property
    def kept(self) -> int:
        """Drafts that became output."""
        return min(self.told.accepted, len(self.told.output))

    @property
    def drafted(self) -> int:
        """Tokens that were guesses: `draft[0]` is certain."""
        return len(self.told.draft) - 1

    @property
    def guessed(self) -> int:
        """Guesses that held."""
        return max(0, self.told.accepted - (1 - self.ahead))

    @property
    def rejected(self) -> int | None:
        """The place of the draft that the verifier turned down; None where all held or none was judged."""
        place = self.ahead + self.told.accepted
        return place if self.told.complete and place < len(self.told.draft) else None

    @property
    def correction(self) -> int | None:
        """The id that the verifier put in the place of the rejected one."""
        return None if self.rejected is None else self.told.verified[self.rejected - 1]

    @property
    def share(self) -> float:
        """Drafts that held, of all; 1 where nothing was drafted."""
        return self.guessed / self.drafted if self.drafted else 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens decoded one after the other."""

    number: int
    told: DecodeRun

    @property
    def start(self) -> int:
        """Absolute position of the first token."""
        return self.told.start

    @property
    def share(self) -> float:
        """Nothing is left open by it."""
        return 1.0


Frame: TypeAlias = Denoised | Scored | Round | Run


@dataclass(frozen=True, slots=True)
class Stage:
    """A block or a stretch, and the verdict of the gate on it, if one was asked. `number` counts stages from 1."""

    number: int
    frames: tuple[Frame, ...]
    verdict: GateVerdict | None = None

    @property
    def block(self) -> BlockTrace | None:
        """The diffusion block, if it is one."""
        first = self.frames[0]
        return first.block if isinstance(first, Denoised | Scored) else None

    @property
    def start(self) -> int:
        """Absolute position of its first place."""
        return self.frames[0].start

    @property
    def turned_down(self) -> bool:
        """Whether a gate had it drafted again, so that none of it is output."""
        return self.verdict is not None and self.verdict.verdict in ("refine", "redo_ar")


def stages_of(bodies: Iterable[Body]) -> tuple[Stage, ...]:
    """All stages, numbered, frames numbered through from 0."""
    course = _Course()
    for body in bodies:
        course.take(body)
    return tuple(course.stages)


class _Course:
    """Reads records in order."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self._position = self._frames = 0
        self._room = 0

    def take(self, body: Body) -> None:
        match body:
            case RequestOpen():
                self._position = body.prompt_tokens
            case BlockTrace():
                self._block(body)
            case SpecRounds():
                for told in body.rounds:
                    ahead = self._position - told.start
                    self._causal(Round(self._next(), told, min(max(ahead, 0), 1)), len(told.output))
            case DecodeRun() if body.output:
                self._causal(Run(self._next(), body), len(body.output))
            case GateVerdict():
                self._rule(body)
            case _:
                pass

    def _next(self) -> int:
        self._frames += 1
        return self._frames - 1

    def _open(self, frames: tuple[Frame, ...]) -> None:
        self.stages.append(Stage(len(self.stages) + 1, frames))

    def _rule(self, verdict: GateVerdict) -> None:
        """A verdict belongs to the newest stage in which its unit begins; it ends the stretch that is being read."""
        denoised = verdict.mode == DIFFUSION
        for place in reversed(range(len(self.stages))):
            stage = self.stages[place]
            if (stage.block is not None) == denoised and any(frame.start == verdict.start for frame in stage.frames):
                self.stages[place] = replace(stage, verdict=verdict)
                break
        self._room = 0

    def _block(self, block: BlockTrace) -> None:
        frames: list[Frame] = [Denoised(self._next(), block, step) for step in decode_steps(block)]
        if block.verifier_logprob:
            frames.append(Scored(self._next(), block))
        if frames:
            self._open(tuple(frames))
        self._position += block.emitted
        self._room = 0

    def _causal(self, frame: Round | Run, output: int) -> None:
        if self._room > 0:
            stage = self.stages[-1]
            self.stages[-1] = replace(stage, frames=(*stage.frames, frame))
        else:
            self._open((frame,))
            self._room = STRETCH
        self._room -= output
        self._position += output


def frames_of(stages: Iterable[Stage]) -> Iterator[tuple[Stage, Frame]]:
    """Every frame with its stage, in order."""
    return ((stage, frame) for stage in stages for frame in stage.frames)
