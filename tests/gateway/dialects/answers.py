"""Answers to be told: random parts, an account, and bytes cut anywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from gateway.calls import CallArguments, CallBegun, CallEnded, Part, Reasoning
from gateway.pieces import Account, Text

GENERATION = UUID("01936f5e-0000-7000-8000-000000000001")
ACCOUNT = Account(
    generation=GENERATION,
    mode="linear_spec",
    policy_digest="ab" * 32,
    block_length=16,
    seed=7,
    prompt_tokens=40,
    completion_tokens=30,
    forwards=8,
    records=9,
    first_seq=4,
    last_seq=12,
    reason="stop",
    cached_tokens=32,
)
EXAMPLES = settings(max_examples=60)
SAID = st.text(st.sampled_from('ab \n\té😀\u2028"\\{}<>'), min_size=1, max_size=30)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | SAID, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@st.composite
def calls(draw: st.DrawFn) -> list[Part]:
    """One call, its arguments in one piece or several."""
    text = json.dumps(draw(st.dictionaries(SAID, VALUES, max_size=3)))
    cut = draw(st.integers(0, len(text)))
    arguments = [CallArguments(piece) for piece in (text[:cut], text[cut:]) if piece]
    return [CallBegun(draw(st.sampled_from(["c0", "c1"])), draw(st.sampled_from(["read", "write"]))), *arguments, CallEnded()]


def _each(kind: type[Text | Reasoning]) -> st.SearchStrategy[list[Part]]:
    return st.lists(SAID.map(kind), min_size=1, max_size=4)


ANSWERS = st.lists(_each(Text) | _each(Reasoning) | calls(), max_size=6).map(
    lambda runs: [part for run in runs for part in run]
)
CUTS = st.lists(st.integers(0, 5000), max_size=20)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at these places as far as they are inside."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(places)]


def said(parts: list[Part], kind: type[Text | Reasoning]) -> str:
    """Everything that was said in one way, without white space."""
    return "".join("".join(part.text.split()) for part in parts if isinstance(part, kind))
