"""Every field of every event reaches a record, and coalescing loses nothing."""

import hashlib
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

import pytest

from audit.records import BlockTrace, DecodeRun, EngineNote, GateVerdict, RequestClose, SpecRounds, encode_body
from engine.events import (
    Admitted,
    Alternatives,
    BlockDecoded,
    DenoiseStep,
    Event,
    Finished,
    FinishReason,
    Gated,
    Noted,
    NoteKind,
    Prefilled,
    RunDecoded,
    SpecRound,
)
from engine.gates import Gate, Ruling, Verdict
from engine.request import Constraint, ConstraintKind, GenerationRequest, Mode, Sampling
from gateway.testimony import ROUNDS_PER_RECORD, TOKENS_PER_RECORD, Statement, Tally, attest, close, output_of

ONE, OTHER = UUID(int=1), UUID(int=2)
STEP = DenoiseStep((True, True), (5, 6), (0.5, 0.25), (True, False))
REQUEST = GenerationRequest(
    id=ONE, prompt=(1,) * 10, mode=Mode.DIFFUSION, modes_permitted=frozenset((Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC)),
    max_tokens=64, sampling=Sampling(0.0, 7, 0, 0.5, 40, 0.0, 0.5, -0.5, 1.0), block_length=16, threshold=0.9, max_steps=32,
    seed_first=True, stop_ids=frozenset((11,)), stop_strings=("\n",), top_logprobs=2,
)  # fmt: skip
ADMITTED = Admitted(REQUEST, "strict", "ff", "float32")
BLOCK = BlockDecoded(ONE, 0, 10, False, (STEP,), (5, 6), (0.5, 0.25), (-0.5, -1.0), (True, False), 2, 3, True)
ROUND = SpecRound(ONE, 0, 10, (5, 6), (1.0, 0.5), (6, 7), 1, (6, 7), (-0.5, -0.25), 2, True)
RUN = RunDecoded(ONE, 10, (5,), (-0.5,), 1)
RANKED = Alternatives(ONE, 10, 2, (5, 6, 7, 8), (-0.5, -1.0, -0.25, -2.0))
GATED = Gated(ONE, 0, 10, ("tokens", "agreement"), (2.0, 0.5), Verdict.HOLD, "gates.agreement", "linear_spec", 0.5, 3)
EVENTS: tuple[Event, ...] = (
    ADMITTED,
    Prefilled(ONE, 10, 8, 1),
    BLOCK,
    ROUND,
    RUN,
    RANKED,
    GATED,
    Noted(ONE, NoteKind.ABORTED, "left"),
    Finished(ONE, FinishReason.STOP, 10, 5, 1, 1, 1, 6, "ab" * 32, 1_500),
)
SAMPLES: dict[str, Any] = {
    "mode": Mode.AR,
    "note": NoteKind.FAULT,
    "reason": FinishReason.LENGTH,
    "generation": OTHER,
    "output_digest": "cd" * 32,
    "emitted": 1,
    "width": 1,
    "prompt": (1,) * 11,
    "think_budget": 0,
    "constraint": Constraint(ConstraintKind.REGEX, "a*"),
    "gate": Gate(lambda _: Ruling(Verdict.ACCEPT), frozenset()),
    "modes_permitted": frozenset((Mode.DIFFUSION, Mode.LINEAR_SPEC)),
    "stop_ids": frozenset((11, 4)),
    "request": replace(REQUEST, max_tokens=65),
    "verdict": Verdict.BLOCK,
}


def another(event: Event, name: str) -> Event:
    """The same event with one field changed to another value of its type, lengths kept."""
    if name == "tokens" and isinstance(event, BlockDecoded):
        return replace(event, tokens=(5, 9))
    if name == "steps" and isinstance(event, BlockDecoded):
        return replace(event, steps=(STEP, STEP))
    if name == "mode" and isinstance(event, Gated):
        return replace(event, mode="diffusion")
    changed = SAMPLES[name] if name in SAMPLES else _changed(getattr(event, name))
    return replace(event, **{name: changed})


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value[:-1], _changed(value[-1]))
    return value + 1 if isinstance(value, int) else value / 2 + 0.0625


def statements(event: Event) -> list[tuple[UUID, bytes]]:
    """What goes into the log for one event, as bytes."""
    made = [close(event, 3)] if isinstance(event, Finished) else attest([event])
    return [(statement.request, encode_body(statement.body)) for statement in made]


@pytest.mark.parametrize(
    ("event", "name"),
    [(event, field.name) for event in EVENTS for field in fields(event)],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_every_field_of_every_event_reaches_a_record(event: Event, name: str) -> None:
    """Changing any field of any event changes what is recorded for it."""
    assert statements(event) != statements(another(event, name))


@pytest.mark.parametrize(
    "name", [field.name for field in fields(GenerationRequest) if field.name not in ("sampling", "cache_salt")]
)
def test_every_field_of_a_request_reaches_its_admission(name: str) -> None:
    """Changing any field of a request changes what is recorded of its admission; the tenant is that of the log."""
    value = SAMPLES.get(name, OTHER if name == "id" else None)
    changed = replace(REQUEST, **{name: _changed(getattr(REQUEST, name)) if value is None else value})
    assert statements(ADMITTED) != statements(replace(ADMITTED, request=changed))


@pytest.mark.parametrize("name", [field.name for field in fields(Sampling)])
def test_every_field_of_a_sampling_reaches_its_admission(name: str) -> None:
    """Changing how tokens are picked changes what is recorded of the admission."""
    sampling = replace(REQUEST.sampling, **{name: _changed(getattr(REQUEST.sampling, name))})
    assert statements(ADMITTED) != statements(replace(ADMITTED, request=replace(REQUEST, sampling=sampling)))


@pytest.mark.parametrize("name", [field.name for field in fields(DenoiseStep)])
def test_every_field_of_a_denoising_step_reaches_a_record(name: str) -> None:
    """Changing any field of one denoising step changes the record of its block."""
    changed = {"confidence": (0.5, 0.75), "masked": (False, True)}.get(name, _changed(getattr(STEP, name)))
    step = replace(STEP, **{name: changed})
    if name == "masked":
        step = replace(step, confidence=(0.0, 0.25))
    assert statements(replace(BLOCK, steps=(step,))) != statements(BLOCK)


def test_every_kind_of_event_is_covered() -> None:
    """The events above are all the kinds that the engine has."""
    assert {type(event) for event in EVENTS} == set(Event.__args__)


def runs(lengths: list[int]) -> list[Event]:
    """Contiguous runs of the given lengths."""
    events: list[Event] = []
    start = 10
    for length in lengths:
        events.append(RunDecoded(ONE, start, tuple(range(length)), (0.0,) * length, 1))
        start += length
    return events


def bodies(made: list[Statement]) -> list[Any]:
    """The bodies alone."""
    return [statement.body for statement in made]


def test_causal_tokens_share_records_of_32() -> None:
    """Seventy single tokens make three records; ids, log-probabilities and forwards are all there, in order."""
    made = bodies(attest(runs([1] * 70)))
    assert [len(body.output) for body in made] == [TOKENS_PER_RECORD, TOKENS_PER_RECORD, 6]
    assert [body.forwards for body in made] == [32, 32, 6]
    assert made[1].start == 42


def test_a_gap_between_runs_starts_a_new_record() -> None:
    """Runs that do not touch are not told as one."""
    assert len(attest([replace(RUN, start=10), replace(RUN, start=15)])) == 2


def test_rounds_share_records_of_sixteen_rounds_or_32_tokens() -> None:
    """A record of rounds is full at sixteen rounds or at 32 tokens, whichever comes first."""
    short = replace(ROUND, output=(6,), logprob=(-0.5,))
    made = bodies(attest([short] * (ROUNDS_PER_RECORD + 1)))
    assert [len(body.rounds) for body in made] == [16, 1]
    long = replace(ROUND, output=tuple(range(12)), logprob=(0.0,) * 12)
    assert [len(body.rounds) for body in bodies(attest([long] * 3))] == [2, 1]


def test_kinds_keep_their_order() -> None:
    """A run, then rounds, then a note stay three records in that order."""
    made = bodies(attest([RUN, ROUND, ROUND, Noted(ONE, NoteKind.ROLLBACK, "")]))
    assert [type(body) for body in made] == [DecodeRun, SpecRounds, EngineNote]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_is_recorded_after_what_it_judged(verdict: Verdict) -> None:
    """A verdict is a record of its own between the tokens before and after it, whatever it says."""
    ruled = replace(GATED, verdict=verdict)
    before, gate, after = bodies(attest([RUN, ruled, replace(RUN, start=11)]))
    told = (verdict.value, 10, "gates.agreement", "linear_spec", 0.5, 3)
    assert gate == GateVerdict(0, ("tokens", "agreement"), (2.0, 0.5), *told)
    assert (before.start, after.start) == (10, 11)


@pytest.mark.parametrize("reason", list(FinishReason))
def test_every_reason_closes(reason: FinishReason) -> None:
    """The close names the engine's reason, `blocked` like all others."""
    body = close(Tally().finished(ONE, 10, reason), 1).body
    assert isinstance(body, RequestClose)
    assert body.reason == reason.value


def test_a_block_is_a_record_of_its_own() -> None:
    """Two blocks in a row are two records."""
    assert [type(body) for body in bodies(attest([BLOCK, BLOCK]))] == [BlockTrace, BlockTrace]


def test_the_tally_equals_what_the_engine_declares() -> None:
    """Counting the events gives the totals and the digest over all output ids."""
    tally = Tally()
    for event in (BLOCK, ROUND, RUN):
        tally.count(event)
    ids = [token for event in (BLOCK, ROUND, RUN) for token in output_of(event)]
    digest = hashlib.sha256(b"".join(token.to_bytes(4, "big") for token in ids)).hexdigest()
    made = tally.finished(ONE, 10, FinishReason.FAULT)
    assert made == Finished(ONE, FinishReason.FAULT, 10, 5, 1, 1, 1, 6, digest, None)
    assert made.busy_us is None


def test_the_close_declares_its_own_record_too() -> None:
    """The count of records is passed through as given, for it includes the close itself."""
    body = close(Finished(ONE, FinishReason.STOP, 10, 5, 1, 1, 1, 6, "ab" * 32, 0), 7).body
    assert isinstance(body, RequestClose)
    assert body.records == 7
