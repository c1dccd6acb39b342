"""Passes in a row: what most likely comes next runs before the host has heard what was picked.

A step foretells what follows it (`follow`): the verification of a draft, the next token of `ar`, the first denoising step of
the next block. Its tokens are filled in where they are picked, so the host waits once for several passes.
A guess holds if the generation, told what came of the pass before, wants just that. Where it does not (the answer has ended,
a gate took a block back), what it gave is dropped; what it wrote lies above what is committed, where the next pass writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self

from engine.plan import NO_SOURCE, Plan, Step
from engine.sampling import Ask, Picks, spans
from engine.scheduler import Turn
from engine.value import value


@value
class Guess(Turn):
    """A turn that most likely comes after `before`, which foretold it."""

    before: Turn
    foretold: Step

    @classmethod
    def after(cls, turn: Turn, start: int) -> Self | None:
        """The one behind `turn`, whose first pick is pick `start` of its pass. None: nothing is foretold or no page free."""
        if not turn.step.follow:
            return None
        following, *later = turn.step.follow
        filled = turn.filled + following.kept
        if not turn.live.session.cache.reserve(filled + following.frame.clean):
            return None
        sources = tuple(place if place == NO_SOURCE else start + place for place in following.sources)
        step = Step(following.tokens, following.frame, follow=later, sources=sources, only=following.only)
        return cls(turn.live, step, filled, turn, following)

    def holds(self, earlier: Picks) -> bool:
        """Whether it is what its generation wants now, which was told `earlier`, the picks of the turn before.

        A generation that is over has an empty cache.
        """
        wanted, rows = self.live.wanted, zip(self.foretold.tokens, self.foretold.sources, strict=True)
        ids = tuple(known if place == NO_SOURCE else earlier.ids[place] for known, place in rows)
        free = wanted.allowed is None and not wanted.targets and wanted.only == self.foretold.only
        here = wanted.frame is self.step.frame and self.live.session.cache.filled == self.filled
        return free and here and tuple(wanted.tokens) == ids


@value
class Link:
    """One pass: its plan, its turns in the order of the plan's rows, and what those of them that want logits ask for."""

    plan: Plan
    turns: Sequence[Turn]
    asks: Sequence[Ask]

    @classmethod
    def of(cls, turns: Sequence[Turn], padded: Callable[[int], int]) -> Self:
        """The pass of these turns, those of one frame side by side."""
        ordered = sorted(turns, key=lambda turn: (turn.step.frame.size, id(turn.step.frame)))
        plan = Plan.pack([(turn, turn.step) for turn in ordered], padded)
        return cls(plan, ordered, [turn.live.session.ask(turn.step) for turn in ordered if turn.step.frame.asking])

    def following(self, padded: Callable[[int], int]) -> Self | None:
        """The pass of what most likely comes behind it: for turns whose picks are made without the host."""
        asking = (turn for turn in self.turns if turn.step.frame.asking)
        rows = zip(asking, spans(self.asks), strict=True)
        guesses = [Guess.after(turn, own.start) for turn, (ask, own) in rows if ask.plain]
        found = [guess for guess in guesses if guess is not None]
        return self.of(found, padded) if found else None


def delivered(links: Sequence[Link], picks: Sequence[Sequence[Picks]]) -> Iterator[tuple[Turn, Picks | None]]:
    """What each generation is to hear, pass by pass: its turn with its picks, None for one that wants no logits.

    What a guess gave that does not hold when its turn comes is left out.
    """
    heard: dict[Turn, Picks] = {}
    for link, of_link in zip(links, picks, strict=True):
        left = iter(of_link)
        for turn in link.turns:
            own = next(left) if turn.step.frame.asking else None
            if isinstance(turn, Guess) and not (turn.before in heard and turn.holds(heard[turn.before])):
                continue
            if own is not None:
                heard[turn] = own
            yield turn, own
