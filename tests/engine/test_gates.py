"""Laws of gates: what each verdict does to a block, to the text and to the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from torch import Tensor

from engine.engine import Engine
from engine.events import BlockDecoded, Event, FinishReason, Gated, Noted, NoteKind, Output, SpecRound
from engine.gates import CAUSAL_UNIT, REFINES_MOST, BlockFacts, Gate, Ruling, Verdict
from engine.plan import Flag, Plan
from engine.request import CAUSAL_MODES, Mode
from tests.engine.harness import EXACT_MODES, asked, decoded, drafter, events_of, finished, model, output, play

PROMPT = (1, 5, 9)
ALL = frozenset(Verdict)


def gate(judge: Callable[[BlockFacts], Ruling], verdicts: frozenset[Verdict] = ALL) -> Gate:
    """A gate that may rule anything."""
    return Gate(judge, verdicts)


def always(verdict: Verdict, **more: float) -> Gate:
    """A gate that rules the same of everything."""
    return gate(lambda facts: Ruling(verdict, "always", **more))  # type: ignore[arg-type]


def once(verdict: Verdict, block: int, **more: float) -> Gate:
    """A gate that rules so of the first attempt at one block, and accepts everything else."""
    return gate(
        lambda facts: Ruling(verdict if (facts.start, facts.attempt) == (3 + 8 * block, 0) else Verdict.ACCEPT, "once", **more)  # type: ignore[arg-type]
    )


def ask(mode: Mode, judge: Gate | None, tokens: int = 24, **changes: object) -> list[Event]:
    """The events of one gated generation."""
    return decoded(model(), asked(mode, PROMPT, tokens, gate=judge, threshold=0.2, **changes))


def told(events: Sequence[Event]) -> list[BlockDecoded | Gated]:
    """Blocks and rulings, in order."""
    return [event for event in events if isinstance(event, BlockDecoded | Gated)]


@pytest.mark.parametrize("verdict", [Verdict.ACCEPT, Verdict.HOLD])
def test_accept_and_hold_change_nothing_in_the_text(verdict: Verdict) -> None:
    """Every block is followed by its ruling, and blocks, text and end are those of a generation without a gate."""
    plain, events = ask(Mode.DIFFUSION, None), ask(Mode.DIFFUSION, always(verdict))
    pairs = told(events)
    assert [type(event) for event in pairs] == [BlockDecoded, Gated] * 3
    assert [event.verdict for event in pairs if isinstance(event, Gated)] == [verdict] * 3
    blocks = [(b.start, b.tokens, b.steps, b.emitted) for b in told(events) if isinstance(b, BlockDecoded)]
    assert blocks == [(b.start, b.tokens, b.steps, b.emitted) for b in told(plain) if isinstance(b, BlockDecoded)]
    assert finished(events).output_digest == finished(plain).output_digest
    assert finished(events).forwards == finished(plain).forwards


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_refine_masks_again_what_was_unsure(threshold: float) -> None:
    """The block is said without output; what lies below the threshold, the least sure anyway, is masked and judged anew."""
    events = told(ask(Mode.DIFFUSION, once(Verdict.REFINE, 1, threshold=threshold, steps=6)))
    first, ruling, again, second = events[2:6]
    assert isinstance(first, BlockDecoded) and isinstance(again, BlockDecoded) and isinstance(ruling, Gated)
    assert (first.emitted, first.start, first.complete) == (0, 11, True) and again.start == 11 and again.emitted == 8
    assert ruling.verdict is Verdict.REFINE and ruling.start == 11
    least = min(first.commit_confidence)
    unsure = tuple(value < threshold or value == least < 1 for value in first.commit_confidence)
    assert sum(unsure) >= 1 and (threshold or sum(unsure) == 1) and again.steps[0].masked == unsure
    for place, masked in enumerate(unsure):
        assert masked or again.tokens[place] == first.tokens[place]
    assert len(again.steps) <= 6 and again.forwards == len(again.steps) + 1
    assert isinstance(second, Gated) and second.verdict is Verdict.ACCEPT
    assert dict(zip(second.names, second.values, strict=True))["attempt"] == 1


def test_refining_outputs_nothing_that_nobody_proposed() -> None:
    """Places behind a stop id that were only filled up are masked again with it, and no filler is ever output."""
    stop, noisy_passes = 11, 0

    def rewrite(plan: Plan, logits: Tensor) -> Tensor:
        """The first proposal is sure of a stop at the third place; no later one has any."""
        nonlocal noisy_passes
        changed, flags = logits.clone(), plan.field(2)
        if any(int(flags[row]) & Flag.NOISY for row in plan.wanted.tolist()):
            noisy_passes += 1
            for index, row in enumerate(plan.wanted.tolist()):
                place = int(plan.position[row]) - len(PROMPT)
                proposed = stop if (place, noisy_passes) == (2, 1) else 40 + place
                changed[index] = 0
                changed[index, proposed] = 12 if place < 3 or noisy_passes > 1 else 0.5
        return changed

    judge = once(Verdict.REFINE, 0, threshold=1.0, steps=8)
    request = asked(Mode.DIFFUSION, PROMPT, 8, stop=(stop,), seed_first=False, threshold=0.9, gate=judge)
    events, _ = play(model(), request, rewrite)
    first, _, again, _ = told(events)
    assert isinstance(first, BlockDecoded) and first.tokens[2:] == (stop,) * 6 and first.commit_confidence[3:] == (0,) * 5
    assert isinstance(again, BlockDecoded) and again.steps[0].masked == (True,) * 8
    assert output(events) == tuple(range(40, 48))


def test_refining_has_an_end() -> None:
    """Asked to refine once more than is allowed, the block is held as it is, and generation goes on."""
    events = ask(Mode.DIFFUSION, always(Verdict.REFINE, threshold=0.99, steps=4), tokens=16)
    verdicts = [event.verdict for event in told(events) if isinstance(event, Gated)]
    assert verdicts == [*[Verdict.REFINE] * REFINES_MOST, Verdict.HOLD] * 2
    assert [event.emitted for event in told(events) if isinstance(event, BlockDecoded)] == [*[0] * REFINES_MOST, 8] * 2
    assert len(output(events)) == 16


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_redo_gives_the_text_of_ar(block: int, temperature: float) -> None:
    """The turned-down block gives no output; its place holds the very tokens that `ar` puts behind the same beginning."""
    events = ask(Mode.DIFFUSION, once(Verdict.REDO_AR, block), temperature=temperature)
    text, before = output(events), 8 * block
    truth = output(decoded(model(), asked(Mode.AR, (*PROMPT, *text[:before]), 8, temperature=temperature)))
    assert text[before : before + 8] == truth
    turned_down = next(b for b in told(events) if isinstance(b, BlockDecoded) and b.emitted == 0)
    assert turned_down.start == 3 + before and turned_down.complete
    assert any(isinstance(event, Noted) and event.note is NoteKind.ROLLBACK for event in events)
    assert len(text) == 24 and finished(events).reason is FinishReason.LENGTH


@pytest.mark.parametrize("length", [1, 3, 4, 7, 15, 32])
def test_every_pass_of_what_was_redone_is_told_with_it(length: int) -> None:
    """The ruling on a redone block sees all its passes, and they are counted though it ends the answer."""
    judge = gate(lambda facts: Ruling(Verdict.REDO_AR if facts.mode == Mode.DIFFUSION else Verdict.BLOCK))
    request, engine = asked(Mode.DIFFUSION, PROMPT, 64, gate=judge, threshold=0.2, block=length), Engine(model())
    events = events_of(engine, request)[request.id]
    ruling = events[-2]
    assert isinstance(ruling, Gated) and dict(zip(ruling.names, ruling.values, strict=True))["steps"] == length
    assert finished(events).forwards == engine.figures().passes - 1, "the first pass is the prompt's"


def test_redoing_everything_is_ar() -> None:
    """A gate that has every block decoded again gives, in any length of block, the text of `ar`."""
    for length in (1, 3, 8):
        events = ask(Mode.DIFFUSION, always(Verdict.REDO_AR), tokens=20, block=length, temperature=0.7)
        assert output(events) == output(decoded(model(), asked(Mode.AR, PROMPT, 20, temperature=0.7)))


@pytest.mark.parametrize("mode", [Mode.DIFFUSION, *CAUSAL_MODES, Mode.AUTO])
def test_block_ends_the_answer(mode: Mode) -> None:
    """A blocked unit is the last: the closing event says so, and comes right after the ruling."""
    events = ask(mode, always(Verdict.BLOCK), tokens=100)
    assert isinstance(events[-2], Gated) and events[-2].verdict is Verdict.BLOCK
    assert finished(events).reason is FinishReason.BLOCKED
    assert 8 <= len(output(events)) < 100 and finished(events).tokens == len(output(events))


@pytest.mark.parametrize("mode", [*CAUSAL_MODES, Mode.AUTO])
@pytest.mark.parametrize("verdict", [Verdict.ACCEPT, Verdict.HOLD])
def test_causal_text_is_judged_in_units(mode: Mode, verdict: Verdict) -> None:
    """A unit ends with the run or round that makes it 32 tokens, the last one with the answer; units join without a gap."""
    events = ask(mode, always(verdict), tokens=100)
    assert output(events) == output(ask(Mode.AR, None, tokens=100))
    gated = [event for event in events if isinstance(event, Gated)]
    sizes = [int(dict(zip(event.names, event.values, strict=True))["tokens"]) for event in gated]
    assert sum(sizes) == 100 and all(CAUSAL_UNIT <= size <= CAUSAL_UNIT + 8 for size in sizes[:-1])
    assert [event.block for event in gated] == list(range(len(gated)))
    assert gated[0].start == 3
    shift = {later.start - earlier.start - size for (earlier, later), size in zip(pairwise(gated), sizes, strict=False)}
    assert shift <= {0, -1}


@pytest.mark.parametrize("mode", EXACT_MODES)
@pytest.mark.parametrize("tokens", [3, 9, 17, 33, 36])
@pytest.mark.parametrize("wrong", [0, 3])
def test_acceptance_is_the_share_of_guessed_drafts_that_held(mode: Mode, tokens: int, wrong: int) -> None:
    """It is what the rounds tell, in both modes and at the end of an answer too: 1 where the drafter is always right."""
    truth = output(decoded(model(), asked(Mode.AR, PROMPT, 80)))
    seen: list[BlockFacts] = []

    def judge(facts: BlockFacts) -> Ruling:
        seen.append(facts)
        return Ruling(Verdict.ACCEPT)

    def choose(position: int) -> int:
        """What `ar` says, but for some positions."""
        place = position - len(PROMPT)
        return truth[place] ^ (wrong > 0 and place % 5 == wrong)

    events, _ = play(model(), asked(mode, PROMPT, tokens, gate=gate(judge)), drafter(choose))
    rounds = [event for event in events if isinstance(event, SpecRound)]
    certain = mode is Mode.QUADRATIC_SPEC
    assert [event.matched for event in rounds] == [event.accepted - certain for event in rounds]
    share = sum(event.matched for event in rounds) / sum(len(event.draft) - 1 for event in rounds)
    assert wrong or {facts.acceptance for facts in seen} == {1.0}
    assert not wrong or (share < 1 and (len(seen) > 1 or seen[0].acceptance == pytest.approx(share, rel=1e-6)))


def test_what_was_redone_is_judged_before_other_text_follows() -> None:
    """A unit of causal text is one stretch: what stands between two diffusion blocks is not put together with later text."""

    def judge(facts: BlockFacts) -> Ruling:
        redo = facts.mode == Mode.DIFFUSION and (facts.start - len(PROMPT)) // 8 % 2 == 0
        return Ruling(Verdict.REDO_AR if redo else Verdict.ACCEPT)

    events = ask(Mode.DIFFUSION, gate(judge), tokens=48)
    units = [event for event in events if isinstance(event, Gated) and event.mode == Mode.AR]
    assert [event.start for event in units] == [len(PROMPT) + 16 * place for place in range(3)]
    assert all(dict(zip(event.names, event.values, strict=True))["tokens"] == 8 for event in units)
    assert [event.block for event in events if isinstance(event, Gated)] == list(range(9))


@pytest.mark.parametrize("mode", [Mode.DIFFUSION, *CAUSAL_MODES])
def test_a_ruling_follows_what_it_is_about(mode: Mode) -> None:
    """Between two rulings stands the text that the second is about, and its figures are those of these events."""
    since: list[Output] = []
    for event in ask(mode, always(Verdict.ACCEPT), tokens=90):
        if isinstance(event, Output):
            since.append(event)
        if not isinstance(event, Gated):
            continue
        figures = dict(zip(event.names, event.values, strict=True))
        logprob = [
            value
            for told_ in since
            for value in (told_.verifier_logprob[: told_.emitted] if isinstance(told_, BlockDecoded) else told_.logprob)
        ]
        assert figures["tokens"] == len(logprob) == sum(len(told_.output) for told_ in since)
        assert figures["logprob_min"] == min(logprob)
        assert figures["logprob_mean"] == pytest.approx(sum(logprob) / len(logprob), rel=1e-6)
        since = []
    assert not since


@pytest.mark.parametrize("mode", [Mode.DIFFUSION, *CAUSAL_MODES])
def test_a_gate_sees_recorded_values(mode: Mode) -> None:
    """What the gate was given is float32 throughout and is what the record says it saw, so a ruling can be replayed."""
    seen: list[BlockFacts] = []

    def judge(facts: BlockFacts) -> Ruling:
        seen.append(facts)
        return Ruling(Verdict.ACCEPT, f"seen {len(seen)}")

    events = ask(mode, gate(judge), tokens=70, temperature=0.7)
    gated = [event for event in events if isinstance(event, Gated)]
    assert [dict(zip(event.names, event.values, strict=True)) for event in gated] == [facts.figures() for facts in seen]
    assert all(float(np.float32(value)) == value for facts in seen for value in facts.figures().values())
    assert [event.rule for event in gated] == [f"seen {n + 1}" for n in range(len(seen))]
    assert [event.start for event in gated] == [facts.start for facts in seen]


def undeclared(facts: BlockFacts) -> Ruling:
    """Rules what the gate did not declare."""
    return Ruling(Verdict.BLOCK)


def broken(facts: BlockFacts) -> Ruling:
    """Rules nothing."""
    raise ZeroDivisionError


@pytest.mark.parametrize(("judge", "word"), [(undeclared, "among the verdicts"), (broken, "ZeroDivision")])
@pytest.mark.parametrize("tokens", [10, 33, 60])
@pytest.mark.parametrize("mode", [Mode.DIFFUSION, *CAUSAL_MODES, Mode.AUTO])
def test_a_gate_that_breaks_is_its_own_fault(mode: Mode, tokens: int, judge: Callable[[BlockFacts], Ruling], word: str) -> None:
    """A ruling that was not declared, or none, at any unit, the last included, ends that generation and no other."""
    bad = asked(mode, PROMPT, tokens, gate=gate(judge, frozenset({Verdict.ACCEPT})))
    good = asked(mode, PROMPT, tokens)
    engine = Engine(model())
    found = events_of(engine, bad, good)
    note, closing = found[bad.id][-2], finished(found[bad.id])
    assert isinstance(note, Noted) and note.note is NoteKind.FAULT and word in note.detail
    assert closing.reason is FinishReason.FAULT and closing.tokens == len(output(found[bad.id]))
    assert len(output(found[good.id])) == tokens and engine.idle()


def test_a_block_whose_gate_breaks_is_said() -> None:
    """The steps of a diffusion block stay on record when its gate breaks, marked incomplete, without output."""
    events = ask(Mode.DIFFUSION, gate(broken))
    block, plain = events[2], told(ask(Mode.DIFFUSION, None))[0]
    assert isinstance(block, BlockDecoded) and isinstance(plain, BlockDecoded)
    assert not block.complete and block.emitted == 0 and block.steps == plain.steps
    assert block.forwards == finished(events).forwards == plain.forwards


@pytest.mark.parametrize("verdict", [Verdict.REFINE, Verdict.REDO_AR])
@pytest.mark.parametrize("mode", CAUSAL_MODES)
def test_causal_text_cannot_be_done_better(mode: Mode, verdict: Verdict) -> None:
    """Refining or redoing causal text would give the same text: the ruling is said and changes nothing."""
    events = ask(mode, always(verdict), tokens=50)
    assert output(events) == output(ask(Mode.AR, None, tokens=50))
    assert {event.verdict for event in events if isinstance(event, Gated)} == {verdict}
