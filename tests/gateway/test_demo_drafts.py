"""How drafts are shown: kept, struck out, corrected, still masked, and never with effect on a terminal."""

from __future__ import annotations

from rich.text import Text

from audit.records import BlockTrace, DecodeRun, SpecRounds, SpecRoundTrace
from audit.trace import Step, encode_steps
from engine.tokenizer import Tokenizer
from gateway.demo_drafts import story
from tests.engine.small import TINY

TOKENIZER = Tokenizer.load(TINY)


def ids(text: str) -> tuple[int, ...]:
    """One id per byte, so that every character has a place of its own."""
    return tuple(TOKENIZER.encode(char)[0] for char in text)


def round_of(draft: str, accepted: int, output: str) -> SpecRounds:
    """One complete round."""
    shape = {"draft": ids(draft), "verified": ids(output), "output": ids(output), "accepted": accepted}
    flat = {"draft_confidence": (1.0,) * len(draft), "logprob": (-0.5,) * len(output)}
    return SpecRounds((SpecRoundTrace(index=2, start=9, forwards=2, complete=True, **shape, **flat),))  # type: ignore[arg-type]


def shown(line: str) -> list[tuple[str, str]]:
    """The styled pieces of a line of markup."""
    text = Text.from_markup(line)
    return [(str(span.style), text.plain[span.start : span.end]) for span in text.spans]


def test_a_round_shows_what_was_kept_struck_out_and_put_instead() -> None:
    """The seed is not counted as a draft; matches are green, the rest struck out, the verifier's token follows."""
    (line,) = story([round_of("sabc", 1, "ax")], TOKENIZER)
    assert "round 2: 1 of 3 kept" in line
    assert shown(line) == [("green", "a"), ("strike red", "bc"), ("yellow", "x")]


def test_a_block_shows_each_step_with_its_masks() -> None:
    """Every denoising step is a line: known, newly committed, and still masked places."""
    a, b, c = ids("abc")
    steps = (
        Step((False, True, True), (a, b, a), (0.0, 1.0, 0.2), (False, True, False)),
        Step((False, False, True), (a, b, c), (0.0, 0.0, 1.0), (False, False, True)),
    )
    whole = ((1.0, 1.0, 1.0), (-0.1, -0.1, -0.1), (True, True, True))
    block = BlockTrace(0, 9, True, encode_steps(steps), (a, b, c), *whole, 3, 3, True)
    lines = [Text.from_markup(line).plain for line in story([block], TOKENIZER)]
    assert lines == ["  block 0 step 0  ab\N{LIGHT SHADE}", "  block 0 step 1  abc"]


def test_model_output_has_no_effect_on_a_terminal() -> None:
    """Control characters become a replacement mark, line ends an arrow, and markup stays text."""
    (line,) = story([round_of("s\x1b[red]\n", 7, "\x1b[red]\nx")], TOKENIZER)
    assert shown(line)[0] == ("green", "\ufffd[red]\u21b5")


def test_other_records_tell_no_draft() -> None:
    """Autoregressive runs have no drafts to show."""
    assert list(story([DecodeRun(9, ids("a"), (-0.5,), 1)], TOKENIZER)) == []
