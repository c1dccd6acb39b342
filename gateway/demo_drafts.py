"""How an answer came about, for a person, from its records alone: what was drafted, and what was kept of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.markup import escape

from audit.records import BlockTrace, Body, SpecRounds, SpecRoundTrace
from audit.trace import Step, decode_steps
from engine.tokenizer import Tokenizer

MASK = "░"
LINE_END = "↵"


def story(bodies: Iterable[Body], tokenizer: Tokenizer) -> Iterator[str]:
    """One line (rich markup) for each round of `linear_spec` or each denoising step of `diffusion`."""
    for body in bodies:
        if isinstance(body, SpecRounds):
            yield from (_round(each, tokenizer) for each in body.rounds)
        elif isinstance(body, BlockTrace):
            yield from (
                f"  block {body.index} step {number}  {_step(step, tokenizer)}"
                for number, step in enumerate(decode_steps(body))
            )


def _round(each: SpecRoundTrace, tokenizer: Tokenizer) -> str:
    """A linear round: drafts that were kept, drafts that were struck out, and the verifier's own token."""
    drafted, picked = each.draft[1:], each.output[each.accepted :]  # draft[0] was output before the round
    kept, lost = drafted[: each.accepted], drafted[each.accepted :]
    rejected = f"[red strike]{_shown(lost, tokenizer)}[/]" if lost else ""
    corrected = f"[yellow]{_shown(picked, tokenizer)}[/]" if picked else ""
    head = f"  round {each.index}: {each.accepted} of {len(drafted)} kept"
    return f"{head}  [green]{_shown(kept, tokenizer)}[/]{rejected}{corrected}"


def _step(step: Step, tokenizer: Tokenizer) -> str:
    """The block as it stood after the step; what the step itself committed is green."""
    places = zip(step.masked, step.committed, step.proposal, strict=True)
    return "".join(_place(*place, tokenizer) for place in places)


def _place(masked: bool, committed: bool, token: int, tokenizer: Tokenizer) -> str:
    if masked and not committed:
        return MASK
    text = _shown((token,), tokenizer)
    return f"[green]{text}[/]" if committed else text


def _shown(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Text on one line and without effect on a terminal: model output is not to be trusted."""
    text = tokenizer.decode(tuple(ids)).replace("\n", LINE_END)
    return escape("".join(char if char.isprintable() else "\ufffd" for char in text))
