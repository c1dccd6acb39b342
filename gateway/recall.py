"""An earlier answer, told again from nothing but its records.

The text is the recorded ids decoded, cut to what the delivery record says was released, and it must have the digest that this
record has: so a restart loses no answer, none is kept outside of the encrypted log, and nothing is told that was not released
before. Of an answer that was held it is what people let go, once they have: their own text where they wrote another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeVar
from uuid import UUID

from audit.approvals import AfterRelease, ApprovalEnded, ApprovalOpened
from audit.header import Header
from audit.judgements import ReleaseDecision
from audit.keys import KeyStore
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    Delivery,
    EngineNote,
    PolicyDecision,
    PromptBody,
    RequestAbandoned,
    RequestClose,
    RequestOpen,
    SpecRounds,
)
from audit.store import read_tenant
from gateway.errors import GatewayError
from gateway.pieces import Account, Approval
from gateway.recorded import records_of
from gateway.scores import TokenScore, recorded_scores
from gateway.settings import DatabaseUrl
from gateway.stop_text import StopText

B = TypeVar("B")
_ANSWERED: Final = ("stop", "length")


class Unreadable(GatewayError):
    """The recorded ids do not give the text that was released."""

    default_code = "answer_unreadable"


class Ending(Enum):
    """How a recorded request ended, if it did."""

    NONE = "none"
    ANSWERED = "answered"
    WITHHELD = "withheld"
    HELD = "held"
    """People have not decided, or nobody has come for what they let go."""
    DECLINED = "declined"
    CUT = "cut"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Recalled:
    """One request as its records tell it.

    `asked` is the text of its prompt body, `text` what was released of its answer, `held` the newest cycle of a held one,
    `scores` those of the tokens of any other, for a held one reaches its client without them. `tools` are the names of those
    that it was judged with, None where that is not on record.
    """

    opening: RequestOpen
    asked: str
    text: str
    ending: Ending
    account: Account
    held: ApprovalOpened | None = None
    scores: tuple[TokenScore, ...] = ()
    tools: tuple[str, ...] | None = None


class Recall:
    """Reads answers back; decrypts with this installation's keys. Safe for several threads."""

    def __init__(self, reader_url: DatabaseUrl, keys: KeyStore, decode_bytes: Callable[[tuple[int, ...]], bytes]) -> None:
        self._url, self._keys, self._decode = reader_url, keys, decode_bytes

    async def find(self, tenant: str, request: UUID) -> Recalled | None:
        """What the records of a request tell; None if there are none in this tenant's log, or not enough that can be read.

        Raises Unreadable, and what reading the log raises.
        """
        return await asyncio.to_thread(self._find, tenant, request)

    def _find(self, tenant: str, request: UUID) -> Recalled | None:
        with read_tenant(self._url, tenant) as reader:
            records = list(records_of(reader, self._keys, request))
        bodies = [body for _, body in records if body is not None]
        opening, prompt = _last(RequestOpen, bodies), _last(PromptBody, bodies)
        if opening is None or prompt is None or len(bodies) < len(records):
            return None
        account = _account(request, [header for header, _ in records], bodies, opening)
        held = _last(ApprovalOpened, bodies)
        if held is not None:
            return self._of_held(Recalled(opening, prompt.text, "", Ending.HELD, account, held, tools=_tools(bodies)), bodies)
        delivery = _last(Delivery, bodies)
        text = "" if delivery is None else self._text(bodies, delivery)
        scores = tuple(recorded_scores(self._decode, opening.prompt_tokens, bodies))
        return Recalled(opening, prompt.text, text, _ending(bodies, delivery), account, scores=scores, tools=_tools(bodies))

    def _text(self, bodies: Iterable[Body], delivery: Delivery) -> str:
        whole = self._decode(_ids(bodies)).decode("utf-8", "replace").encode()
        return _checked(whole[: delivery.bytes_released], delivery.sha256_released)

    def _of_held(self, found: Recalled, bodies: Sequence[Body]) -> Recalled:
        """The same, once people have decided; what they took back after its release is told nobody."""
        ended, held = _last(ApprovalEnded, bodies), found.held
        if ended is None or held is None:
            return found
        if ended.outcome != "released" or any(isinstance(body, AfterRelease) and body.act == "recall" for body in bodies):
            return replace(found, ending=Ending.DECLINED)
        stop = StopText(found.opening.stop_strings)
        made = (stop.clear(self._decode(_ids(bodies))) + stop.rest()).decode("utf-8", "replace")
        text = _checked((made if held.content is None else held.content).encode(), ended.content_sha256)
        approval = Approval(found.account.generation, ended.content_sha256.hex(), held.content is not None)
        account = replace(found.account, approval=approval, stop=stop.found)
        return replace(found, text=text, ending=Ending.ANSWERED, account=account)


def _checked(text: bytes, digest: bytes) -> str:
    """The released text, which has this digest. Raises Unreadable."""
    if hashlib.sha256(text).digest() != digest:
        raise Unreadable(
            "the recorded ids do not give the released text: another model's tokenizer is loaded, or the log was altered; "
            "run `palimpsest audit verify`"
        )
    return text.decode()


def _ids(bodies: Iterable[Body]) -> tuple[int, ...]:
    """All ids of the answer."""
    return tuple(token for body in bodies for token in output_of(body))


def output_of(body: Body) -> Iterable[int]:
    """The ids that a record adds to its answer."""
    match body:
        case BlockTrace() | DecodeRun():
            return body.output
        case SpecRounds():
            return (token for each in body.rounds for token in each.output)
        case _:
            return ()


def _ending(bodies: Iterable[Body], delivery: Delivery | None) -> Ending:
    kept = list(bodies)
    close = _last(RequestClose, kept)
    if close is None or delivery is None:
        return Ending.BROKEN if _last(RequestAbandoned, kept) else Ending.NONE
    if close.reason == "aborted":
        return Ending.CUT
    if close.reason == "fault":
        return Ending.BROKEN
    verdict = _last(ReleaseDecision, kept)
    if delivery.outcome == "aborted" and (verdict is None or verdict.verdict != "block"):
        return Ending.CUT  # its client left when the engine had already come to the end
    return Ending.ANSWERED if close.reason in _ANSWERED and delivery.outcome == "complete" else Ending.WITHHELD


def _account(request: UUID, headers: list[Header], bodies: list[Body], opening: RequestOpen) -> Account:
    close = _last(RequestClose, bodies)
    return Account(
        generation=request,
        mode=opening.mode,
        policy_digest=(headers[0].policy or b"").hex(),
        block_length=opening.block_length,
        seed=opening.seed,
        prompt_tokens=opening.prompt_tokens,
        completion_tokens=0 if close is None else close.tokens,
        forwards=0 if close is None else close.forwards,
        records=len(headers),
        first_seq=headers[0].seq,
        last_seq=headers[-1].seq,
        reason="" if close is None else close.reason,
        annotations=_annotations(bodies),
        cached_tokens=_cached(bodies),
    )


def _annotations(bodies: Iterable[Body]) -> tuple[str, ...]:
    """What its client was told of beside the answer."""
    decision = _last(ReleaseDecision, bodies)
    return () if decision is None else decision.annotations


def _tools(bodies: Iterable[Body]) -> tuple[str, ...] | None:
    """The names of the tools that the law knew of."""
    decision = _last(PolicyDecision, bodies)
    return None if decision is None or decision.facts is None else decision.facts.tools


def _cached(bodies: Iterable[Body]) -> int:
    """Prompt tokens that came from the cache, by the engine's own note."""
    notes = [body.detail for body in bodies if isinstance(body, EngineNote) and body.note == "prefilled"]
    return int(json.loads(notes[0])["cached"]) if notes else 0


def _last(kind: type[B], bodies: Iterable[Body]) -> B | None:
    found = [body for body in bodies if isinstance(body, kind)]
    return found[-1] if found else None
