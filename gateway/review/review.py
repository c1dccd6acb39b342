"""From the records of one generation to what a reviewer sees of it; the log's own states, and nothing from running a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from audit.approvals import ApprovalOpened
from audit.judgements import ReleaseDecision
from audit.records import Body, PolicyDecision, RequestClose, RequestOpen
from gateway.errors import GatewayError
from gateway.review.acts import Act, Says, acts_of, title_of
from gateway.review.drafts import Draft, drafts_of
from gateway.review.spans import Span, spans_of
from gateway.review.stages import Round, Stage, frames_of, stages_of
from gateway.review.tokens import Token, tokens_of
from gateway.review.words import Decode, Words

B = TypeVar("B")
ACTS_MOST: Final = 262_144
"""Characters of a content of which it is told what its calls would do; a longer one stands there as its text alone."""
RECORDS_MOST: Final = 50_000
"""Records of one generation that are looked at; a longer one is not for reading on a page."""


class NoReview(GatewayError):
    """These records do not suffice for a review; the message says what is missing."""

    status = 404
    default_code = "no_review"


@dataclass(frozen=True)
class Review:
    """One generation: its answer token by token, how each came about, and what it would do.

    `text` is the answer of cycle 1 as it would be delivered; `edited` what stands in its place since an edit.
    """

    opening: RequestOpen
    stages: tuple[Stage, ...]
    tokens: tuple[Token, ...]
    drafts: Mapping[int, tuple[Draft, ...]]
    words: Words = field(repr=False)
    tools: tuple[str, ...]
    edits: Mapping[int, str]
    """The contents of the cycles that an editor's text is about, by their number, oldest first."""
    closing: RequestClose | None

    @cached_property
    def text(self) -> str:
        """What the recorded ids say."""
        return "".join(token.text for token in self.tokens)

    @property
    def edited(self) -> str | None:
        """What would leave instead of it, if somebody has edited it."""
        return self.edits[max(self.edits)] if self.edits else None

    @property
    def content(self) -> str:
        """What would leave."""
        return self.text if self.edited is None else self.edited

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Unsure stretches, the least sure first."""
        return spans_of(self.tokens)

    @cached_property
    def acts(self) -> tuple[Act, ...]:
        """What the content says and does, or that it says it, where it is too long for more."""
        return (Says(self.content),) if self.too_long else acts_of(self.content, self.tools)

    @property
    def too_long(self) -> bool:
        """Whether nobody looked for calls in the content."""
        return len(self.content) > ACTS_MOST

    @property
    def title(self) -> str:
        """A headline."""
        return title_of(self.acts)

    @property
    def first(self) -> int:
        """Absolute position of the answer's first token."""
        return self.opening.prompt_tokens

    @cached_property
    def guesses(self) -> tuple[int, int]:
        """Drafts of speculation: how many held, of how many."""
        rounds = [frame for _, frame in frames_of(self.stages) if isinstance(frame, Round)]
        return sum(frame.guessed for frame in rounds), sum(frame.drafted for frame in rounds)


def review_of(bodies: Sequence[Body], decode: Decode) -> Review:
    """The review of one request by its bodies, in the order of the log; `decode` gives the bytes of ids.

    Raises NoReview where nothing was opened, or where there is too much.
    """
    opening = last(RequestOpen, bodies)
    if opening is None:
        raise NoReview("nothing readable of this generation's opening is in the log: erased, retired, or not of this tenant")
    if len(bodies) > RECORDS_MOST:
        raise NoReview(f"this generation has {len(bodies)} records, more than a page can show; export it instead")
    words = Words(decode, opening.stop_ids)
    stages = stages_of(bodies)
    tokens = tokens_of(stages, opening.prompt_tokens, opening.stop_strings, decode)
    drafts = drafts_of(stages, tokens, words)
    return Review(opening, stages, tokens, drafts, words, _tools(bodies), _edits(bodies), last(RequestClose, bodies))


def last(kind: type[B], bodies: Iterable[Body]) -> B | None:
    """The newest record of a kind."""
    found = [body for body in bodies if isinstance(body, kind)]
    return found[-1] if found else None


def _tools(bodies: Sequence[Body]) -> tuple[str, ...]:
    """Names that the answer may call, or was found to call."""
    asked, released = last(PolicyDecision, bodies), last(ReleaseDecision, bodies)
    offered = asked.facts.tools if asked is not None and asked.facts is not None else ()
    return (*offered, *(call.name for call in (released.calls if released is not None else ())))


def _edits(bodies: Iterable[Body]) -> dict[int, str]:
    opened = (body for body in bodies if isinstance(body, ApprovalOpened))
    return {body.cycle: body.content for body in opened if body.content is not None}
