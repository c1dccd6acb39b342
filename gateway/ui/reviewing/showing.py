"""A reading as templates show it: sheet, bars, replaced drafts, choices. `review/reading.html` takes it as `reading`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.review.bars import Bars, bars_of
from gateway.review.diffing import Part
from gateway.review.drafts import Draft
from gateway.review.marks import hidden, visible
from gateway.review.sheet import Sheet, edit_of, sheet_of
from gateway.ui.reviewing.drafts import choices_of
from gateway.ui.reviewing.reading import Reading

REPLACED_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """What `review/reading.html` needs."""

    generation: UUID
    sheet: Sheet
    bars: Bars
    too_long: bool
    """Whether what its calls would do is not told."""
    hidden: int
    """Characters of the content that have no shape of their own."""
    replaced: tuple[tuple[str, Draft], ...]
    choices: list[tuple[str, str]]
    edit: tuple[Part, ...]


def shown(reading: Reading) -> Shown:
    """Everything that is drawn of one generation. May take a moment for a long one: call it in a thread."""
    review = reading.review
    struck = [
        (review.words.alone(review.tokens[index].id), draft)
        for index, drafts in sorted(review.drafts.items())
        for draft in drafts
        if draft.why.struck
    ]
    return Shown(
        generation=reading.generation,
        sheet=sheet_of(review),
        bars=bars_of(review),
        too_long=review.too_long,
        hidden=hidden(review.content),
        replaced=tuple(struck[:REPLACED_MOST]),
        choices=choices_of(review),
        edit=tuple(Part(part.side, visible(part.text)) for part in edit_of(review)),
    )
