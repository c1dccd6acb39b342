"""Recorded requests as the policy room replays them: facts, decision, units, answer and use, read back from the log.

Only records that hold figures and names are opened, never a prompt or a text. What cannot be read any more is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, TypeAlias
from uuid import UUID

import policies
from audit.header import Header, StoredRecord, decode_header
from audit.judgements import ReleaseDecision
from audit.keys import KeyStore
from audit.records import Body, GateVerdict, Kind, PolicyDecision, RequestAbandoned, RequestClose
from audit.standing import DAY
from audit.store import Reader
from gateway.budgets.from_log import usage_at_end
from gateway.law.record import admission_of, answer_of, facts_of, ruling_of, unit_of
from gateway.recorded import opened
from policies.rows import REFUSE

Watch: TypeAlias = Callable[[int, int], None]
_TOLD_EACH: Final = 1000
_OPENED: Final = frozenset((Kind.POLICY_DECISION, Kind.GATE, Kind.RELEASE_DECISION, Kind.REQUEST_CLOSE, Kind.REQUEST_ABANDONED))


@dataclass(slots=True)
class Docket:
    """The requests that one policy judged. `others` were judged by another, or by none; `unread` are no longer whole."""

    rows: list[policies.Row] = field(default_factory=list)
    others: int = 0
    unread: int = 0
    unfinished: int = 0


@dataclass(slots=True)
class _Case:
    """One request as far as it was read; without a row and of no other policy, it was admitted before the period."""

    row: policies.Row | None = None
    other: bool = False
    broken: bool = False


def read_docket(reader: Reader, keys: KeyStore, policy: policies.Policy, since: int = 0, watch: Watch | None = None) -> Docket:
    """All requests that `policy` judged from a time in microseconds on, in the order of their ends. Blocking.

    A request that was admitted before that time is passed over. `watch` is told how many records were read, and of how many.
    """
    before = reader.last_before(since)
    first = 0 if before is None else before + 1
    cases, found = dict[UUID, _Case](), Docket()
    records = reader.records(first)
    for header, stored in _figures(records if watch is None else _watched(records, reader.size() - first, watch)):
        if header.request is None:
            continue
        case = cases.setdefault(header.request, _Case())
        if _take(case, header, opened(keys, header, stored.body), policy):
            _file(found, cases.pop(header.request))
    found.unfinished = len(cases)
    return found


def read_case(
    reader: Reader, keys: KeyStore, request: UUID, laws: Mapping[bytes, policies.Policy]
) -> tuple[policies.Row, policies.Policy] | None:
    """One request and the policy of `laws`, by digest, that judged it; None where the records do not suffice. Blocking."""
    told = [(header, opened(keys, header, stored.body)) for header, stored in _figures(reader.request(request))]
    named = next((body.policy_digest for _, body in told if isinstance(body, PolicyDecision)), b"")
    policy = laws.get(named)
    if policy is None:
        return None
    case = _Case()
    for header, body in told:
        _take(case, header, body, policy)
    return None if case.row is None or case.broken else (case.row, policy)


def _watched(records: Iterator[StoredRecord], of: int, watch: Watch) -> Iterator[StoredRecord]:
    for done, stored in enumerate(records):
        if done % _TOLD_EACH == 0:
            watch(done, of)
        yield stored


def _figures(records: Iterator[StoredRecord]) -> Iterator[tuple[Header, StoredRecord]]:
    for stored in records:
        header = decode_header(stored.header)
        if header.kind in _OPENED:
            yield header, stored


def _take(case: _Case, header: Header, body: Body | None, policy: policies.Policy) -> bool:
    """Add one record to its case; True if it is the last one."""
    if isinstance(body, PolicyDecision):
        return _open(case, header, body, policy)
    if body is None:
        case.broken = True
        return header.kind in (Kind.REQUEST_CLOSE, Kind.REQUEST_ABANDONED)
    if case.row is not None and not case.broken:
        try:
            case.row = _with(case.row, body, policy)
        except ValueError:
            case.broken = True
    return isinstance(body, RequestClose | RequestAbandoned)


def _open(case: _Case, header: Header, body: PolicyDecision, policy: policies.Policy) -> bool:
    case.other = body.facts is None or body.policy_digest != policy.digest
    if body.facts is not None and not case.other:
        case.row = policies.Row(
            id=str(header.request),
            day=header.ts // DAY,
            facts=facts_of(header.tenant, header.actor, body.facts),
            admission=admission_of(body),
        )
    return body.outcome == REFUSE


def _with(row: policies.Row, body: Body, policy: policies.Policy) -> policies.Row:
    match body:
        case GateVerdict():
            return replace(row, units=(*row.units, unit_of(body)))
        case ReleaseDecision():
            return replace(row, answer=answer_of(body), release=ruling_of(body, policy.document))
        case RequestClose():
            return replace(row, usage=usage_at_end(body, Decimal(0)))
        case _:
            return row


def _file(found: Docket, case: _Case) -> None:
    if case.broken:
        found.unread += 1
    elif case.row is not None:
        found.rows.append(case.row)
    else:
        found.others += case.other
