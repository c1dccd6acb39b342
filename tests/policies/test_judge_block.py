"""The judge inside the engine: thresholds, missing figures, refining and its end, modes that the engine calls otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies import BlockFacts, Mode, Policy, Release, Ruling, Verdict, explain, judge_block
from tests.policies.documents import allowed, policy
from tests.policies.facts import PLAIN

BLOCK = BlockFacts(0, 10, "diffusion", 16, 0, 8, 0, -0.5, -2.0, 0.9, 0.6, 0.95)
CAUSAL = replace(BLOCK, mode="linear_spec", confidence_mean=None, confidence_min=None, agreement=None, acceptance=0.5)
SURE = '[[gates]]\nid = "sure"\nmodes = ["diffusion"]\nmetric = "confidence_min"\nbelow = 0.5\naction = "hold"\n'
REFINE = SURE.replace('"hold"', '"refine"') + 'refine = { threshold = 0.9, steps = 12, attempts = 2, then = "redo_ar" }\n'
ACCEPTANCE = '[[gates]]\nid = "kept"\nmodes = ["%s"]\nmetric = "acceptance"\nbelow = 0.4\nleast_tokens = 8\naction = "hold"\n'


def ruled(of: Policy, unit: BlockFacts, mode: Mode | None = None) -> Ruling:
    """The ruling on a unit of a request in `mode`."""
    return judge_block(of, allowed(of, replace(PLAIN, requested_mode=mode and mode.value)), unit)


@pytest.mark.parametrize(
    ("bounds", "value", "crossed"),
    [
        ("below = 0.5", 0.49, True),
        ("below = 0.5", 0.5, False),
        ("above = 0.5", 0.51, True),
        ("above = 0.5", 0.5, False),
        ("above = 0.2\nbelow = 0.5", 0.3, True),
        ("above = 0.2\nbelow = 0.5", 0.2, False),
        ("above = 0.2\nbelow = 0.5", 0.6, False),
    ],
)
def test_a_threshold_is_crossed_strictly(bounds: str, value: float, crossed: bool) -> None:
    """`below` is crossed under its value, `above` over it, both together between them; at the value itself nothing is."""
    ruling = ruled(policy(SURE.replace("below = 0.5", bounds)), replace(BLOCK, confidence_min=value))
    assert ruling == (Ruling(Verdict.HOLD, "gate:sure") if crossed else Ruling(Verdict.ACCEPT))


@pytest.mark.parametrize("value", [None, float("nan")])
@pytest.mark.parametrize(
    ("where", "said", "verdict"),
    [
        ("", "", Verdict.HOLD),
        ('on_missing = "block"\n', "", Verdict.BLOCK),
        ("", 'on_missing = "annotate"\n', Verdict.ACCEPT),
        ('on_missing = "block"\n', 'on_missing = "hold"\n', Verdict.HOLD),
    ],
)
def test_a_missing_figure_fails_closed_and_says_so(value: float | None, where: str, said: str, verdict: Verdict) -> None:
    """Without the figure, or with one that is no number, `on_missing` is demanded: the gate's, else the document's."""
    found = policy(SURE + said, head=where)
    assert ruled(found, replace(BLOCK, confidence_min=value)) == Ruling(verdict, "metric_missing:gate:sure")


def test_a_short_unit_is_not_judged() -> None:
    """A unit of fewer than `least_tokens` is let through by that gate, its figure there or not; at the length it is judged."""
    found = policy(ACCEPTANCE % "linear_spec")
    tail = replace(CAUSAL, tokens=7, acceptance=None)
    assert ruled(found, tail, Mode.LINEAR_SPEC).verdict is Verdict.ACCEPT
    assert ruled(found, replace(tail, tokens=8), Mode.LINEAR_SPEC).rule == "metric_missing:gate:kept"


def test_refining_ends() -> None:
    """A gate refines as often as it says, with its threshold and steps, and then demands what comes after."""
    found = policy(REFINE)
    unsure = replace(BLOCK, confidence_min=0.1)
    rulings = [ruled(found, replace(unsure, attempt=attempt)) for attempt in range(3)]
    assert rulings == [Ruling(Verdict.REFINE, "gate:sure", 0.9, 12)] * 2 + [Ruling(Verdict.REDO_AR, "gate:sure")]


def test_two_that_refine_refine_as_the_stricter_of_both() -> None:
    """Where two gates refine one unit, the higher threshold and the larger number of steps hold, and both are named."""
    other = REFINE.replace('"sure"', '"more"').replace("0.9, steps = 12", "0.8, steps = 20")
    ruling = ruled(policy(REFINE + other), replace(BLOCK, confidence_min=0.1))
    assert ruling == Ruling(Verdict.REFINE, "gate:sure, gate:more", 0.9, 20)


def test_annotating_accepts_and_is_on_record() -> None:
    """A gate that only annotates accepts the unit, and its label is in the ruling."""
    found = policy(SURE.replace('"hold"', '"annotate"'))
    assert ruled(found, replace(BLOCK, confidence_min=0.1)) == Ruling(Verdict.ACCEPT, "gate:sure")


@pytest.mark.parametrize(
    ("asked", "said", "gate", "judged"),
    [
        (Mode.QUADRATIC_SPEC, "linear_spec", "quadratic_spec", True),
        (Mode.QUADRATIC_SPEC, "ar", "quadratic_spec", True),
        (Mode.QUADRATIC_SPEC, "linear_spec", "linear_spec", False),
        (Mode.LINEAR_SPEC, "ar", "linear_spec", True),
        (Mode.AUTO, "linear_spec", "linear_spec", True),
        (Mode.AUTO, "ar", "ar", True),
        (Mode.AUTO, "ar", "linear_spec", False),
        (Mode.DIFFUSION, "linear_spec", "linear_spec", True),
        (Mode.DIFFUSION, "ar", "ar", True),
        (Mode.DIFFUSION, "diffusion", "ar", False),
    ],
)
def test_a_unit_is_judged_by_the_gates_of_its_mode(asked: Mode, said: str, gate: str, judged: bool) -> None:
    """Text of a causal mode is judged as the mode that was granted, of `auto` and of fallbacks as the engine says."""
    found = policy(f'[[gates]]\nid = "g"\nmodes = ["{gate}"]\nmetric = "logprob_min"\nbelow = -1.0\naction = "hold"\n')
    ruling = ruled(found, replace(CAUSAL, mode=said), asked)
    assert (ruling.verdict is Verdict.HOLD) is judged


def test_auto_without_linear_speculation_is_judged_as_quadratic() -> None:
    """Where `auto` has only quadratic speculation to choose, a speculative unit is judged by its gates."""
    modes = '[modes]\nallowed = ["quadratic_spec"]\ndefault = "auto"\n'
    found = policy(ACCEPTANCE % "quadratic_spec", modes)
    assert ruled(found, replace(CAUSAL, acceptance=0.1)).rule == "gate:kept"


@pytest.mark.parametrize(
    ("permitted", "asked", "gate"),
    [
        (["linear_spec"], Mode.AUTO, "linear_spec"),
        (["quadratic_spec"], Mode.AUTO, "quadratic_spec"),
        (["linear_spec", "quadratic_spec"], Mode.AUTO, "linear_spec"),
        (["diffusion", "linear_spec"], Mode.AUTO, "linear_spec"),
        (["diffusion", "linear_spec"], Mode.DIFFUSION, "linear_spec"),
    ],
)
def test_no_unit_is_judged_as_a_mode_that_was_not_permitted(permitted: list[str], asked: Mode, gate: str) -> None:
    """A one-token unit, which has no round and is called `ar`, meets the gates of the causal mode that was permitted."""
    modes = f"[modes]\nallowed = {permitted}\ndefault = '{permitted[0]}'\n"
    gates = f'[[gates]]\nid = "g"\nmodes = ["{gate}"]\nmetric = "logprob_min"\nbelow = -5.0\naction = "hold"\n'
    found = policy(gates, modes)
    one = replace(CAUSAL, mode="ar", tokens=1, acceptance=None, logprob_min=-6.0)
    assert ruled(found, one, asked) == Ruling(Verdict.HOLD, "gate:g")
    assert ruled(found, replace(one, logprob_min=-4.0), asked) == Ruling(Verdict.ACCEPT)
    explained = explain(found, replace(PLAIN, requested_mode=asked.value), one)
    assert explained.ruling == Ruling(Verdict.HOLD, "gate:g")


@pytest.mark.parametrize("action", ["refine", "redo_ar"])
def test_causal_text_is_never_decoded_again(action: str) -> None:
    """Should an unchecked document ask for it, causal text is held instead: it is what `ar` would write already."""
    refine = "refine = { threshold = 0.9, steps = 4 }\n" if action == "refine" else ""
    found = policy(f'[[gates]]\nid = "g"\nmodes = ["ar"]\nmetric = "tokens"\nabove = 1.0\naction = "{action}"\n{refine}')
    decision = allowed(found, replace(PLAIN, requested_mode="ar"))
    assert judge_block(found, decision, replace(CAUSAL, mode="ar")) == Ruling(Verdict.HOLD, "gate:g")
    assert Verdict.HOLD in decision.verdicts and decision.release is Release.WHOLE


def test_what_is_not_known_is_held() -> None:
    """A unit of a mode that nobody knows, and one permitted under another policy, are held with the reason."""
    found, other = policy(SURE), policy(SURE.replace("0.5", "0.4"))
    assert ruled(found, replace(BLOCK, mode="psychic")) == Ruling(Verdict.HOLD, "mode_unknown")
    assert ruled(found, replace(BLOCK, mode="auto")) == Ruling(Verdict.HOLD, "mode_unknown")
    assert judge_block(found, allowed(other), BLOCK) == Ruling(Verdict.HOLD, "policy_changed")


def test_rules_about_units_ask_for_the_request_too() -> None:
    """A rule of the phase `block` judges units of the requests that its conditions name, and no others."""
    found = policy('[[rules]]\nid = "r"\nphase = "block"\nwhen = { workflow = ["bills"], metric = "tokens", above = 9.0 }\n'
                   'action = "block"\n')  # fmt: skip
    bills = allowed(found, replace(PLAIN, workflow="Bills"))
    assert judge_block(found, bills, BLOCK) == Ruling(Verdict.BLOCK, "rule:r")
    assert judge_block(found, bills, replace(BLOCK, tokens=9)).verdict is Verdict.ACCEPT
    assert allowed(found).block_rules == () and judge_block(found, allowed(found), BLOCK).verdict is Verdict.ACCEPT


def test_no_gate_means_no_gate() -> None:
    """A request that no gate and no rule concerns declares no verdicts, so the engine need not ask."""
    decision = allowed(policy(SURE), replace(PLAIN, requested_mode="ar"))
    assert (decision.verdicts, decision.block_rules, decision.release) == (frozenset(), (), Release.STREAM)
