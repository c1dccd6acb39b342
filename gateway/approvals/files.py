"""Cases and contents read back from the log: nothing of them is kept anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID

from audit.approvals import ApprovalOpened, Delegation, content_digest
from audit.assent import breaks_glass, lacking, untested
from audit.delegations import Delegations
from audit.enrolments import Enrolments
from audit.header import Header, decode_header
from audit.held import Held
from audit.keys import KeyStore
from audit.powers import Powers
from audit.readers import Readers
from audit.records import Body, Kind, RequestOpen
from gateway.approvals.case import Case, Signature, State
from gateway.recall import Unreadable, output_of
from gateway.recorded import all_opened, records_of
from gateway.settings import DatabaseUrl
from gateway.stop_text import StopText


class Files:
    """Reads with this installation's keys. Blocking; safe for several threads."""

    def __init__(self, reader_url: DatabaseUrl, keys: KeyStore, decode: Callable[[tuple[int, ...]], bytes]) -> None:
        """`decode` makes text of token ids as the served model does."""
        self._readers, self._keys, self._decode = Readers(reader_url), keys, decode

    def case(self, tenant: str, generation: UUID) -> Case | None:
        """How an approval stands; None where there is none in this tenant's log. Raises Unreadable, and what reading raises."""
        with self._readers.tenant(tenant) as reader:
            stored, size = list(reader.case(generation)), reader.size()
            newest = [decode_header(raw).ts for raw in reader.headers(size - 1, size)] if stored else []
        found = case_of(tenant, generation, all_opened(self._keys, stored))
        return None if found is None else replace(found, log_ts=newest[-1])

    def content(self, case: Case) -> str:
        """The exact text that the cycle is about. Raises Unreadable unless it has the hash that people decide on."""
        text = case.opened.content
        if text is None:
            text = self._answer(case.tenant, case.generation)
        if content_digest(text) != case.content_sha256:
            raise Unreadable(
                "the recorded ids do not give the held text: another model's tokenizer is loaded, or the log was altered; "
                "run `palimpsest audit verify`"
            )
        return text

    def delegations(self, tenant: str) -> tuple[Delegation, ...]:
        """Every delegation of a tenant as it stands, oldest first."""
        found = Delegations()
        with self._readers.tenant(tenant) as reader:
            for _, body in all_opened(self._keys, reader.approvals([Kind.DELEGATION])):
                found.add(body if isinstance(body, Delegation) else None)
        return tuple(found.known.values())

    def newest(self, tenant: str, generations: Iterable[UUID]) -> dict[UUID, int]:
        """The last record of each generation."""
        with self._readers.tenant(tenant) as reader:
            return reader.newest_of(list(generations))

    def close(self) -> None:
        """Close all connections."""
        self._readers.close()

    def _answer(self, tenant: str, generation: UUID) -> str:
        """The text of the recorded ids as its client would have it: up to the first stop string."""
        with self._readers.tenant(tenant) as reader:
            bodies = [body for _, body in records_of(reader, self._keys, generation)]
        opening = next((body for body in bodies if isinstance(body, RequestOpen)), None)
        if opening is None or None in bodies:
            raise Unreadable("records of this answer can no longer be read: their keys were erased, or bodies retired")
        return text_of(opening, (body for body in bodies if body is not None), self._decode)


def text_of(opening: RequestOpen, bodies: Iterable[Body], decode: Callable[[tuple[int, ...]], bytes]) -> str:
    """What a client would have of an answer, from its records."""
    stops = StopText(opening.stop_strings)
    data = stops.clear(decode(tuple(token for body in bodies for token in output_of(body))))
    return (data + stops.rest()).decode("utf-8", "replace")


def case_of(tenant: str, generation: UUID, records: Iterable[tuple[Header, Body | None]]) -> Case | None:
    """What the approval records of one request come to, in order of seq; None before the first. Raises Unreadable. Pure."""
    held = Held(tenant, generation)
    for header, body in records:
        for _ in held.add(header, body, _TRUSTED):
            pass  # a contradiction is for the verifier to report
    if held.unread:
        raise Unreadable("records of this approval can no longer be read: their keys were erased, or bodies retired")
    return None if held.opened is None else _case(held, held.opened)


_TRUSTED = Powers(Delegations(unread=1), Enrolments(unread=1))
"""Whoever decided was asked for delegation and passkey then; here they are not asked for again."""


def _case(held: Held, cycle: ApprovalOpened) -> Case:
    return Case(
        tenant=held.tenant,
        generation=held.generation,
        state=_state(held, cycle),
        opened=cycle,
        signatures=tuple(Signature(each.seq, each.ts, each.decided) for each in held.standing()),
        words=next((each.decided.reason for each in held.standing() if each.decided.decision == "reject"), ""),
        broke_glass=bool(held.breakers()),
        lacking=lacking(cycle, (each.decided for each in held.standing())),
        results=tuple(held.results),
        ended=held.ended,
        ended_ts=held.ended_ts,
        after=tuple(held.after),
        records=held.records,
        last_seq=held.last_seq,
        asserted=frozenset(held.asserted),
    )


_ENDS = {"rejected": State.REJECTED, "expired": State.EXPIRED, "cancelled": State.CANCELLED}


def _state(held: Held, cycle: ApprovalOpened) -> State:
    if held.ended is not None:
        return State.RELEASED if held.ended.outcome == "released" else _ENDS[held.ended.why]
    decisions = [each.decided for each in held.standing()]
    if any(each.decision == "reject" for each in decisions):
        return State.REJECTED  # its end follows, by whoever looks next
    if any(breaks_glass(cycle, each) for each in decisions):
        return State.APPROVED
    return State.PENDING if lacking(cycle, decisions) or untested(cycle, held.results) else State.APPROVED
