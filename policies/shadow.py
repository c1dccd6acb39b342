"""What runs while a document only watches: its defaults, with every restriction lifted."""

from __future__ import annotations

from policies.document import Document
from policies.limits import Limits
from policies.modes import CONCRETE, BlockLengthKnob, Knobs, Modes, SeedFirstKnob, StepsKnob, ThresholdKnob
from policies.words import TOKENS_MOST


def unrestricted(document: Document) -> Document:
    """The document's defaults with every restriction lifted."""

    def widen(knobs: Knobs) -> Knobs:
        return Knobs(
            block_length=BlockLengthKnob(default=knobs.block_length.default),
            threshold=knobs.threshold and ThresholdKnob(default=knobs.threshold.default),
            max_steps=StepsKnob(default=knobs.max_steps.default),
            seed_first=SeedFirstKnob(default=knobs.seed_first.default),
        )

    modes = document.modes
    return Document(
        schema=document.schema,
        tenant=document.tenant,
        modes=Modes(
            allowed=CONCRETE,
            default=modes.default,
            ar=widen(modes.ar),
            diffusion=widen(modes.diffusion),
            linear_spec=widen(modes.linear_spec),
            quadratic_spec=widen(modes.quadratic_spec),
        ),
        limits=Limits(default_max_tokens=document.limits.default_max_tokens, max_tokens=TOKENS_MOST),
    )
