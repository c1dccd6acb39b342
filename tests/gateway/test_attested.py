"""What alternatives and verdicts do to the order of the record: nothing is lost, and all is told in its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import records
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    EngineNote,
    GateVerdict,
    SpecRounds,
    decode_body,
    encode_body,
    kind_of,
    schema_of,
)
from engine.engine import Engine
from engine.events import Alternatives, BlockDecoded, Event, Gated, Noted, NoteKind, RunDecoded, SpecRound
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import CAUSAL_MODES, Mode
from gateway.testimony import ROUNDS_PER_RECORD, TOKENS_PER_RECORD, attest, output_of
from tests.engine.harness import asked, events_of, model

ONE = UUID(int=1)
PERMITTED = frozenset((*CAUSAL_MODES, Mode.DIFFUSION))
Ranked = dict[int, tuple[tuple[int, ...], tuple[float, ...]]]


def ranked(start: int, count: int, width: int = 2) -> Alternatives:
    """Alternatives of `count` positions, all values different."""
    ids = tuple(range(start * width, (start + count) * width))
    return Alternatives(ONE, start, width, ids, tuple(-float(token) for token in ids))


def decoded(start: int, count: int, rounds: bool) -> RunDecoded | SpecRound:
    """`count` tokens from `start` on, as a run or as a round."""
    ids, logprob = tuple(range(start, start + count)), tuple(-float(token) for token in range(count))
    if rounds:
        return SpecRound(ONE, start, start, ids, (1.0,) * count, ids, count - 1, ids, logprob, 2, True)
    return RunDecoded(ONE, start, ids, logprob, count)


@st.composite
def told(draw: st.DrawFn) -> list[Event]:
    """What an engine may tell in one flush: tokens after their alternatives, and notes and verdicts in between."""
    events: list[Event] = []
    position = draw(st.integers(1, 40))
    for _ in range(draw(st.integers(0, 40))):
        match draw(st.sampled_from(("run", "run", "round", "note", "gate"))):
            case "note":
                events.append(Noted(ONE, NoteKind.PREEMPTED, str(position)))
            case "gate":
                events.append(Gated(ONE, len(events), position, (), (), Verdict.ACCEPT, "", "ar", 0.0, 0))
            case kind:
                count = draw(st.integers(1, 9))
                if draw(st.booleans()):
                    events.append(ranked(position, count, draw(st.integers(1, 2))))
                events.append(decoded(position, count, kind == "round"))
                position += count
    return events


def outputs(bodies: Iterable[Body]) -> list[tuple[int, float]]:
    """All output ids with their log-probabilities, in the order of the record."""
    found: list[tuple[int, float]] = []
    for body in bodies:
        match body:
            case DecodeRun():
                found += zip(body.output, body.logprob, strict=True)
            case SpecRounds():
                found += [pair for each in body.rounds for pair in zip(each.output, each.logprob, strict=True)]
            case BlockTrace():
                found += zip(body.output, body.verifier_logprob, strict=False)
    return found


def spoken(events: Iterable[Event]) -> list[tuple[int, float]]:
    """The same, of the events."""
    found: list[tuple[int, float]] = []
    for event in events:
        if isinstance(event, BlockDecoded):
            found += zip(event.output, event.verifier_logprob, strict=False)
        elif isinstance(event, SpecRound | RunDecoded):
            found += zip(event.output, event.logprob, strict=True)
    return found


def alternatives(told: Iterable[Alternatives | records.Alternatives]) -> Ranked:
    """What was ranked at each position; no position may be told twice."""
    found: Ranked = {}
    for each in told:
        for row in range(len(each.ids) // each.width):
            position, here = each.start + row, slice(row * each.width, (row + 1) * each.width)
            assert position not in found
            found[position] = (each.ids[here], each.logprob[here])
    return found


def spans(bodies: Sequence[Body]) -> list[tuple[bool, int, int]]:
    """Whether a record holds alternatives, its first position and the one after its last, for each that tells positions."""
    found: list[tuple[bool, int, int]] = []
    for body in bodies:
        match body:
            case records.Alternatives():
                found.append((True, body.start, body.start + len(body.ids) // body.width))
            case DecodeRun():
                found.append((False, body.start, body.start + len(body.output)))
            case SpecRounds():
                first = body.rounds[0].start
                found.append((False, first, first + sum(len(each.output) for each in body.rounds)))
    return found


@given(told())
def test_coalescing_loses_nothing(events: list[Event]) -> None:
    """Ids, log-probabilities, forwards and alternatives of a flush are all in its records, each at its position."""
    bodies = [statement.body for statement in attest(events)]
    assert outputs(bodies) == spoken(events)
    told_ranks = alternatives(event for event in events if isinstance(event, Alternatives))
    assert alternatives(body for body in bodies if isinstance(body, records.Alternatives)) == told_ranks
    passes = sum(body.forwards for body in bodies if isinstance(body, DecodeRun))
    assert passes == sum(event.forwards for event in events if isinstance(event, RunDecoded))


@given(told())
def test_alternatives_stand_before_their_tokens(events: list[Event]) -> None:
    """No record outputs a position whose alternatives stand in a later record."""
    found = spans([statement.body for statement in attest(events)])
    for place, (is_ranking, first, _) in enumerate(found):
        if is_ranking:
            assert all(end <= first for ranking, _, end in found[:place] if not ranking)


@given(told())
def test_what_is_no_causal_text_keeps_its_place(events: list[Event]) -> None:
    """The same tokens and alternatives stand before every note and every verdict in the records as in the events."""
    bodies = [statement.body for statement in attest(events)]
    recorded = [bodies[:place] for place, body in enumerate(bodies) if isinstance(body, EngineNote | GateVerdict)]
    happened = [events[:place] for place, event in enumerate(events) if isinstance(event, Noted | Gated)]
    assert [outputs(before) for before in recorded] == [spoken(before) for before in happened]
    ranks = [alternatives(body for body in before if isinstance(body, records.Alternatives)) for before in recorded]
    assert ranks == [alternatives(event for event in before if isinstance(event, Alternatives)) for before in happened]


@given(told())
def test_records_stay_small(events: list[Event]) -> None:
    """No record that was joined tells more than 32 positions or 16 rounds."""
    bodies = [statement.body for statement in attest(events)]
    assert all(end - first <= TOKENS_PER_RECORD for _, first, end in spans(bodies))
    assert all(len(body.rounds) <= ROUNDS_PER_RECORD for body in bodies if isinstance(body, SpecRounds))


def test_alternatives_do_not_cut_a_run_into_pieces() -> None:
    """Forty tokens told one by one, each with its alternatives, make four records, the alternatives' before the tokens'."""
    pairs: list[Event] = [event for at in range(40) for event in (ranked(10 + at, 1), decoded(10 + at, 1, rounds=False))]
    assert spans([statement.body for statement in attest(pairs)]) == [
        (True, 10, 42), (True, 42, 50), (False, 10, 42), (False, 42, 50),
    ]  # fmt: skip


@pytest.mark.parametrize("stranger", [ranked(13, 2), ranked(12, 2, width=1), replace(ranked(12, 2), generation=UUID(int=2))])
def test_alternatives_that_do_not_go_on_start_a_record(stranger: Alternatives) -> None:
    """A gap, another width or another generation is never told as one."""
    assert len(attest([ranked(10, 2), ranked(12, 2)])) == 1
    assert len(attest([ranked(10, 2), stranger])) == 2


VERDICTS = (Verdict.REFINE, Verdict.ACCEPT, Verdict.HOLD, Verdict.REDO_AR, Verdict.ACCEPT, Verdict.BLOCK)


def every_verdict() -> Gate:
    """Gives the verdicts above in turn, which is no function of the facts but shows every one of them."""
    given = iter(VERDICTS)

    def judge(facts: BlockFacts) -> Ruling:
        return Ruling(next(given, Verdict.BLOCK), f"gates.{facts.index}", 0.5, 4)

    return Gate(judge, frozenset(Verdict))


@lru_cache(maxsize=8)
def real(mode: Mode) -> tuple[Event, ...]:
    """What the engine tells of a gated answer with three alternatives per token."""
    request = asked(mode, tokens=100, modes_permitted=PERMITTED, top_logprobs=3, gate=every_verdict())
    return tuple(events_of(Engine(model()), request)[request.id])


@pytest.mark.parametrize("flush", [1, 7, 10_000])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_real_answer_is_in_its_records(mode: Mode, flush: int) -> None:
    """Of every mode, however its events are flushed, answer, alternatives and verdicts are read back from the bytes."""
    events = real(mode)
    statements = [each for at in range(0, len(events), flush) for each in attest(events[at : at + flush])]
    kinds = [(kind_of(each.body), encode_body(each.body)) for each in statements]
    bodies = [decode_body(kind, schema_of(kind), data) for kind, data in kinds]
    ids = [token for event in events for token in output_of(event)]
    assert [token for token, _ in outputs(bodies)] == ids
    assert outputs(bodies) == spoken(events)
    found = alternatives(body for body in bodies if isinstance(body, records.Alternatives))
    assert found == alternatives(event for event in events if isinstance(event, Alternatives))
    assert sorted(found) == list(range(3, 3 + len(ids)))
    rulings = [(body.verdict, body.start, body.values) for body in bodies if isinstance(body, GateVerdict)]
    assert rulings == [(event.verdict.value, event.start, event.values) for event in events if isinstance(event, Gated)]
    assert len(rulings) > 1
