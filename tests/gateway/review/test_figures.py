"""Figures of an answer beside the thresholds of its policy, and sentences that say what a frame did."""

from __future__ import annotations

from pathlib import Path

import policies
from audit.judgements import ReleaseDecision
from audit.records import GateVerdict
from engine.request import Mode
from gateway.review.figures import figures_of
from gateway.review.review import Review
from gateway.review.sentences import heading, sentence
from gateway.review.stages import Denoised, Round, Scored, frames_of
from tests.gateway.review.told import told

LAW = """
schema = "palimpsest.policy/1"
tenant = "acme"
inherit = "baseline"
release = "whole"
[[gates]]
id = "unsure"
modes = ["diffusion"]
metric = "confidence_min"
below = 0.6
action = "hold"
reason = "a token is a guess"
[[gates]]
id = "unlikely"
modes = ["ar", "linear_spec", "quadratic_spec"]
metric = "logprob_min"
below = -9.0
action = "hold"
[[rules]]
id = "doubted"
phase = "release"
when = { mode = ["diffusion"], metric = "agreement", below = 0.5 }
action = "hold"
"""


def unit(mode: str, **figures: float) -> GateVerdict:
    """What a gate saw of one unit."""
    return GateVerdict(0, tuple(figures), tuple(figures.values()), "accept", 0, "", mode)


def document(tmp_path: Path) -> policies.Document:
    """The law above."""
    path = tmp_path / "law.toml"
    path.write_text(LAW, encoding="utf-8")
    return policies.load(path).document


def test_each_gate_stands_beside_its_threshold(tmp_path: Path) -> None:
    """The worst unit that a gate met is shown against its threshold, with the gate's name and reason; others are plain."""
    units = [
        unit("diffusion", tokens=8, confidence_min=0.9, agreement=1.0),
        unit("diffusion", tokens=8, confidence_min=0.41, agreement=0.75),
        unit("ar", tokens=8, logprob_min=-2.0),
    ]
    answer = ReleaseDecision("hold", (), (), ("agreement", "acceptance", "tokens"), (0.9, 0.5, 24.0), (), (), (), ())
    unsure, unlikely, doubted, acceptance = figures_of([*units, answer], document(tmp_path))
    assert (unsure.name, unsure.value, unsure.below, unsure.crossed) == ("lowest token", 0.41, 0.6, True)
    assert (unsure.label, unsure.reason, unsure.fill, unsure.ticks) == ("unsure", "a token is a guess", 0.41, (0.6,))
    assert unlikely.unit == "nats" and not unlikely.crossed and unlikely.ticks[0] < unlikely.fill < 1
    assert (doubted.label, doubted.value, doubted.crossed) == ("doubted", 0.9, False)
    assert (acceptance.name, acceptance.label, acceptance.ticks) == ("drafts accepted", "", ())


def test_without_a_law_the_figures_stand_alone() -> None:
    """An answer whose policy cannot be read has its figures, without thresholds; one that was not judged has none."""
    answer = ReleaseDecision("allow", (), (), ("logprob_min",), (-3.0,), (), (), (), ())
    (figure,) = figures_of([answer], None)
    assert figure.label == "" and figure.ticks == () and 0 <= figure.fill <= 1
    assert figures_of([], None) == ()


def spoken(review: Review) -> list[tuple[object, str]]:
    """Every frame and what is said of it."""
    return [(frame, sentence(stage, frame, review.words)) for stage, frame in frames_of(review.stages)]


def test_a_round_is_said_as_what_the_verifier_did() -> None:
    """Of a rejected draft the sentence names draft and correction with both probabilities."""
    review = told(Mode.LINEAR_SPEC, temperature=1.0).review
    said = [(frame, text) for frame, text in spoken(review) if isinstance(frame, Round) and frame.rejected is not None]
    assert said
    for frame, text in said:
        assert frame.rejected is not None and frame.correction is not None
        draft, correction = review.words.of(frame.told.draft[frame.rejected]), review.words.of(frame.correction)
        assert f"replaced “{draft}” by “{correction}” at" in text
        assert f"kept {frame.guessed} of {frame.drafted} drafted" in text


def test_a_step_is_said_with_what_it_kept() -> None:
    """Of a denoising step the sentence counts what was kept of what was open; the last frame speaks of the causal pass."""
    review = told(Mode.DIFFUSION, temperature=1.0).review
    for frame, text in spoken(review):
        if isinstance(frame, Denoised):
            assert text.startswith(f"kept {sum(frame.step.committed)} of {sum(frame.step.masked)} open place")
        elif isinstance(frame, Scored):
            assert f"picked {sum(frame.block.agreement[: frame.block.emitted])} of {frame.block.emitted} token" in text
        assert "\n" not in text
    stage, frame = next(frames_of(review.stages))
    assert heading(stage, frame, len(review.stages)) == f"Block 1 of {len(review.stages)}, step 1 of {len(stage.frames)}"
