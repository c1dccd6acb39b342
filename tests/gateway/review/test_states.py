"""A reviewer sees the log's own states: every step, round and run as it was recorded, and the answer at their end."""

from __future__ import annotations

import pytest

from audit.records import BlockTrace, GateVerdict
from audit.trace import decode_steps, quantise
from engine.events import BlockDecoded, RunDecoded, SpecRound
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import Mode
from gateway.review.drafts import Why
from gateway.review.marks import probability, visible
from gateway.review.player import player_of
from gateway.review.review import NoReview
from gateway.review.sheet import written
from gateway.review.stages import Denoised, Round, Run, Scored, frames_of
from gateway.review.states import Standing, state_of, states_of, text_of, version
from tests.engine.harness import output, tokenizer
from tests.gateway.review.told import Told, told

MODES = [Mode.DIFFUSION, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC, Mode.AR, Mode.AUTO]


def whole(said: Told) -> str:
    """The text of everything that the engine put out."""
    return tokenizer().decode_bytes(output(said.events)).decode("utf-8", "replace")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_tokens_are_the_answer(mode: Mode, temperature: float) -> None:
    """Ids, positions and joined texts of the tokens are those of the engine's own output, in every mode."""
    said = told(mode, temperature=temperature)
    review = said.review
    assert tuple(token.id for token in review.tokens) == output(said.events)
    assert [token.position for token in review.tokens] == [len(said.request.prompt) + at for at in range(len(review.tokens))]
    assert review.text == whole(said) and review.content == review.text
    rows = written(review)
    assert "\n".join("".join(word.text for word in row.words) for row in rows) == visible(review.text)
    assert {word.token for row in rows for word in row.words} == {
        token.index for token in review.tokens if token.text.strip("\n")
    }


def test_every_denoising_step_is_the_logs_own() -> None:
    """Masks, proposals, confidences and commits of each step are what audit.trace decodes and what the engine said."""
    said = told(Mode.DIFFUSION, temperature=1.0)
    steps = [frame.step for _, frame in frames_of(said.review.stages) if isinstance(frame, Denoised)]
    logged = [step for body in said.bodies if isinstance(body, BlockTrace) for step in decode_steps(body)]
    events = [step for event in said.events if isinstance(event, BlockDecoded) for step in event.steps]
    assert steps == logged and len(steps) == len(events) > 4
    for step, event in zip(steps, events, strict=True):
        assert (step.masked, step.proposal, step.committed) == (event.masked, event.proposal, event.committed)
        assert step.confidence == tuple(map(quantise, event.confidence))


@pytest.mark.parametrize("mode", [Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_every_round_is_the_logs_own(mode: Mode) -> None:
    """Each round has the drafts, confidences, accepted length and output that the engine said; its correction follows it."""
    said = told(mode, temperature=1.0)
    rounds = [frame for _, frame in frames_of(said.review.stages) if isinstance(frame, Round)]
    events = [event for event in said.events if isinstance(event, SpecRound)]
    answer = {token.position: token for token in said.review.tokens}
    assert len(rounds) == len(events) > 2
    for frame, event in zip(rounds, events, strict=True):
        assert (frame.told.draft, frame.told.draft_confidence) == (event.draft, event.draft_confidence)
        assert (frame.told.verified, frame.told.output, frame.kept) == (
            event.verified,
            event.output,
            min(event.accepted, len(event.output)),
        )
        if frame.rejected is not None and frame.start + frame.rejected in answer:
            assert answer[frame.start + frame.rejected].id == frame.correction != frame.told.draft[frame.rejected]
    assert sum(frame.drafted for frame in rounds) == said.review.guesses[1]


def test_every_run_is_the_logs_own() -> None:
    """Tokens that came one by one stand with their own log-probabilities."""
    said = told(Mode.AR)
    runs = [frame.told for _, frame in frames_of(said.review.stages) if isinstance(frame, Run)]
    events = [event for event in said.events if isinstance(event, RunDecoded)]
    assert [token for run in runs for token in run.output] == [token for event in events for token in event.output]
    assert [token.logprob for token in said.review.tokens] == [value for event in events for value in event.logprob]


@pytest.mark.parametrize("mode", MODES)
def test_the_last_state_is_the_answer(mode: Mode) -> None:
    """Frames are numbered through, what is settled only grows, and after the last frame it is the whole answer."""
    review = told(mode, temperature=1.0).review
    states = list(states_of(review))
    assert [state.frame.number for state in states] == list(range(len(states)))
    assert sorted(state.settled for state in states) == [state.settled for state in states]
    assert states[-1].settled == len(review.tokens)
    assert "".join(text_of(review, states[-1])) == review.text
    assert version(review, "answer") == [token.text for token in review.tokens]


@pytest.mark.parametrize("mode", MODES)
def test_the_player_is_given_the_same_states(mode: Mode) -> None:
    """The player's data has each state's places with the same standing, word and probability, and marks those that stayed."""
    review = told(mode, temperature=1.0).review
    data, states = player_of(review), list(states_of(review))
    assert len(data["frames"]) == len(states) and not data["bounded"]
    for frame, state in zip(data["frames"], states, strict=True):
        assert (frame["start"], frame["settled"]) == (state.start, state.settled) and frame["says"] and frame["title"]
        assert [place[0] for place in frame["places"]] == [int(place.standing) for place in state.places]
        assert [data["words"][place[1]] for place in frame["places"]] == [review.words.of(place.id) for place in state.places]
        for at, (place, drawn) in enumerate(zip(state.places, frame["places"], strict=True), state.start):
            assert drawn[3] == (at < len(review.tokens) and review.tokens[at].id == place.id)
            assert abs(drawn[2] - place.confidence) < 1e-4


def test_an_open_place_is_open_in_the_state() -> None:
    """A denoising state shows a mask where the log has one that the step did not lift, and the proposal where it did."""
    review = told(Mode.DIFFUSION, temperature=1.0).review
    seen = 0
    for state in states_of(review):
        if not isinstance(state.frame, Denoised):
            continue
        step = state.frame.step
        for place, masked, kept in zip(state.places, step.masked, step.committed, strict=True):
            assert (place.standing is Standing.MASKED) == (masked and not kept)
            assert (place.standing is Standing.KEPT) == kept
            seen += masked
    assert seen > 8


def gate(*verdicts: Verdict) -> Gate:
    """Rules the verdicts in turn by the number of the unit."""

    def judge(facts: BlockFacts) -> Ruling:
        return Ruling(verdicts[min(facts.index, len(verdicts) - 1)], f"gate:{facts.index}", 0.99, 3)

    return Gate(judge, frozenset(verdicts))


def test_attempts_that_a_gate_turned_down_are_kept() -> None:
    """A refined block and one decoded again stand as stages of their own, none of them output, and can be compared."""
    said = told(Mode.DIFFUSION, 30, temperature=1.0, gate=gate(Verdict.REFINE, Verdict.ACCEPT, Verdict.REDO_AR, Verdict.ACCEPT))
    review = said.review
    assert review.text == whole(said)
    down = [stage for stage in review.stages if stage.turned_down]
    assert [stage.verdict.verdict for stage in down if stage.verdict] == ["refine", "redo_ar"]
    assert all(isinstance(stage.frames[-1], Scored) for stage in down)
    why = {draft.why for drafts in review.drafts.values() for draft in drafts}
    assert Why.REDONE in why
    redone = down[-1]
    before = state_of(review, redone.frames[-1].number)
    assert redone.block is not None
    assert text_of(review, before)[before.start :] == tuple(
        tokenizer().decode_bytes((token,)).decode("utf-8", "replace") for token in redone.block.tokens
    )
    verdicts = [body for body in said.bodies if isinstance(body, GateVerdict)]
    assert len([stage for stage in review.stages if stage.verdict]) == len(verdicts)


def test_a_rejected_draft_stands_beside_the_token_that_replaced_it() -> None:
    """Whatever a round rejected is a struck draft of the token at its place, with the drafter's confidence."""
    review = told(Mode.LINEAR_SPEC, temperature=1.0).review
    for _, frame in frames_of(review.stages):
        if isinstance(frame, Round) and frame.rejected is not None:
            index = frame.start + frame.rejected - review.first
            if index < len(review.tokens):
                (draft,) = [each for each in review.drafts[index] if each.frame == frame.number]
                assert (draft.id, draft.why) == (frame.told.draft[frame.rejected], Why.REJECTED)
                assert draft.confidence == frame.told.draft_confidence[frame.rejected] and draft.why.struck
    assert any(draft.why is Why.REJECTED for drafts in review.drafts.values() for draft in drafts)


def test_unsure_spans_come_least_sure_first() -> None:
    """Spans cover exactly the tokens of the two highest steps that have text, and the first holds the least sure of all."""
    review = told(Mode.LINEAR_SPEC, temperature=1.0).review
    covered = {index for span in review.spans for index in range(span.first, span.last + 1)}
    unsure = {token.index for token in review.tokens if token.step >= 3 and token.text}
    assert unsure <= covered and [span.least for span in review.spans] == sorted(span.least for span in review.spans)
    least = min(review.tokens, key=lambda token: (not token.text, probability(token.logprob or 0.0)))
    assert review.spans[0].first <= least.index <= review.spans[0].last


def test_what_is_not_there_is_said() -> None:
    """A step or draft that does not exist is a plain error, whatever is asked for."""
    review = told(Mode.AR, 8).review
    for name in ("step-999", "step--1", "cycle-2", "step-٣", "cycle-", "", "answer-1", "step-" + "9" * 5000):
        with pytest.raises(NoReview):
            version(review, name)
