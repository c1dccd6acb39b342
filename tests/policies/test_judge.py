"""Judging: modes, clamps, refusals, shadow, purity."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policies
from policies import Decision, Mode, Policy, RefusalCode, RequestFacts, decide
from policies.modes import CAUSAL, CONCRETE
from tests.policies import drawn
from tests.policies.documents import allowed, refused
from tests.policies.documents import policy as made
from tests.policies.facts import HEAD, PLAIN, STRICT, write

BASELINE = policies.load(policies.BASELINE)


def strict(folder: Path, more: str = "", head: str = "") -> Policy:
    """A policy that permits `ar` and `linear_spec` only."""
    return policies.load(write(folder, "strict", head + STRICT + more))


def test_a_silent_client_gets_the_defaults() -> None:
    """Without wishes the default mode runs with the document's values and its digest."""
    decision = allowed(BASELINE, PLAIN)
    assert decision == Decision(
        mode=Mode.LINEAR_SPEC,
        modes_permitted=CONCRETE,
        block_length=16,
        threshold=None,
        max_steps=32,
        seed_first=True,
        release=policies.Release.STREAM,
        max_tokens=512,
        policy_digest=BASELINE.digest,
        rules=("modes.default",),
    )


@pytest.mark.parametrize("mode", list(Mode))
def test_a_permitted_mode_is_granted(mode: Mode) -> None:
    """Each mode of the baseline, and `auto`, runs when asked for; the engine is bound to the concrete ones."""
    decision = allowed(BASELINE, replace(PLAIN, requested_mode=mode.value))
    assert decision.mode is mode
    assert decision.modes_permitted == CONCRETE
    assert decision.rules == ("modes.requested",)


def test_a_mode_that_is_not_permitted_is_refused(tmp_path: Path) -> None:
    """A known mode outside `allowed` is refused with its code, its status and what would be permitted."""
    policy = strict(tmp_path)
    refusal = refused(policy, replace(PLAIN, requested_mode="diffusion"))
    assert refusal.code is RefusalCode.MODE_NOT_PERMITTED
    assert refusal.status == 403
    assert refusal.policy_digest == policy.digest
    assert refusal.rules == ("modes.allowed",)
    assert "permitted: ar, linear_spec" in refusal.reason


@pytest.mark.parametrize("mode", ["", "AR", "AUTO", "x" * 5000])
@pytest.mark.parametrize("more", ["", 'on_disallowed = "default"\n'])
def test_an_unknown_mode_is_always_refused(tmp_path: Path, mode: str, more: str) -> None:
    """A name that is no mode is refused briefly, even where a disallowed one would be replaced."""
    refusal = refused(strict(tmp_path, more), replace(PLAIN, requested_mode=mode))
    assert refusal.code is RefusalCode.MODE_UNKNOWN
    assert refusal.status == 400
    assert len(refusal.reason) < 200


def test_a_disallowed_mode_may_be_replaced_by_the_default(tmp_path: Path) -> None:
    """Under `on_disallowed = "default"` the default runs and the rules say so."""
    policy = strict(tmp_path, 'on_disallowed = "default"\n')
    decision = allowed(policy, replace(PLAIN, requested_mode="diffusion"))
    assert decision.mode is Mode.LINEAR_SPEC
    assert decision.rules == ("modes.allowed:default",)
    assert decision.modes_permitted == (Mode.AR, Mode.LINEAR_SPEC)


def test_a_client_that_may_not_choose_gets_only_the_default(tmp_path: Path) -> None:
    """With `client_may_choose = false` another permitted mode is refused and the default still runs."""
    policy = strict(tmp_path, "client_may_choose = false\n")
    refusal = refused(policy, replace(PLAIN, requested_mode="ar"))
    assert refusal.rules == ("modes.client_may_choose",)
    assert allowed(policy, replace(PLAIN, requested_mode="linear_spec")).mode is Mode.LINEAR_SPEC


def only(folder: Path, modes: Iterable[Mode], default: Mode, more: str = "") -> Policy:
    """A policy that permits just `modes`."""
    listed = ", ".join(f'"{mode.value}"' for mode in modes)
    return policies.load(write(folder, "only", HEAD + f'[modes]\nallowed = [{listed}]\ndefault = "{default.value}"\n' + more))


def test_auto_needs_a_causal_mode(tmp_path: Path) -> None:
    """Where only `diffusion` is permitted `auto` is refused like any mode that is not, and not offered."""
    policy = only(tmp_path, [Mode.DIFFUSION], Mode.DIFFUSION)
    refusal = refused(policy, replace(PLAIN, requested_mode="auto"))
    assert (refusal.code, refusal.rules) == (RefusalCode.MODE_NOT_PERMITTED, ("modes.allowed",))
    assert refusal.reason.endswith("permitted: diffusion")


def test_auto_may_be_the_default(tmp_path: Path) -> None:
    """A document's default may be `auto`: silent clients get it, and where clients may not choose they get nothing else."""
    policy = only(tmp_path, [Mode.AR, Mode.DIFFUSION], Mode.AUTO, "client_may_choose = false\n")
    silent = allowed(policy, PLAIN)
    assert (silent.mode, silent.modes_permitted) == (Mode.AUTO, (Mode.AR, Mode.DIFFUSION))
    assert silent.rules == ("modes.default",)
    assert allowed(policy, replace(PLAIN, requested_mode="auto")).mode is Mode.AUTO
    refusal = refused(policy, replace(PLAIN, requested_mode="ar"))
    assert (refusal.rules, refusal.reason[-15:]) == (("modes.client_may_choose",), "permitted: auto")


def test_auto_may_not_be_chosen_where_nothing_may(tmp_path: Path) -> None:
    """With `client_may_choose = false` and another default, `auto` is refused, or replaced where the document says so."""
    closed = "client_may_choose = false\n"
    asked = replace(PLAIN, requested_mode="auto")
    assert refused(strict(tmp_path, closed), asked).rules == ("modes.client_may_choose",)
    replaced = allowed(strict(tmp_path, closed + 'on_disallowed = "default"\n'), asked)
    assert (replaced.mode, replaced.rules) == (Mode.LINEAR_SPEC, ("modes.client_may_choose:default",))


LENGTHS = {Mode.AR: 3, Mode.DIFFUSION: 4, Mode.LINEAR_SPEC: 5, Mode.QUADRATIC_SPEC: 6}


@pytest.mark.parametrize(
    ("modes", "lender"),
    [
        (CONCRETE, Mode.LINEAR_SPEC),
        ((Mode.QUADRATIC_SPEC, Mode.AR), Mode.AR),
        ((Mode.DIFFUSION, Mode.AR), Mode.AR),
        ((Mode.DIFFUSION, Mode.QUADRATIC_SPEC), Mode.QUADRATIC_SPEC),
    ],
)
def test_auto_has_the_knobs_of_a_mode_that_it_may_run(tmp_path: Path, modes: tuple[Mode, ...], lender: Mode) -> None:
    """Defaults and bounds of `auto` are those of linear_spec, else ar, else quadratic_spec, whichever is allowed."""
    tables = "".join(f"[modes.{m.value}.block_length]\ndefault = {n}\nmost = {n}\n" for m, n in LENGTHS.items())
    policy = only(tmp_path, modes, Mode.AUTO, tables)
    assert lender in CAUSAL
    assert allowed(policy, PLAIN).block_length == LENGTHS[lender]
    clamped = allowed(policy, replace(PLAIN, requested_mode="auto", block_length=32))
    assert (clamped.block_length, clamped.threshold) == (LENGTHS[lender], None)
    assert clamped.rules == ("modes.requested", "clamp:block_length")


def test_a_shadow_runs_auto_as_asked(tmp_path: Path) -> None:
    """A document that would refuse `auto` only says so while it is a shadow, and the engine may use every mode."""
    text = HEAD + 'enforcement = "shadow"\n[modes]\nallowed = ["diffusion"]\ndefault = "diffusion"\n'
    decision = allowed(policies.load(write(tmp_path, "shadow", text)), replace(PLAIN, requested_mode="auto"))
    assert (decision.mode, decision.modes_permitted) == (Mode.AUTO, CONCRETE)
    assert decision.rules == ("modes.requested", "shadow:modes.allowed")


@drawn.calm
@given(
    mode=st.sampled_from(list(Mode)),
    block_length=st.none() | st.integers(-(2**40), 2**40),
    threshold=st.none() | st.floats(-10, 10),
    max_steps=st.none() | st.integers(-(2**40), 2**40),
    max_tokens=st.none() | st.integers(-(2**40), 2**40),
    seed_first=st.none() | st.booleans(),
)
def test_effective_values_lie_in_their_ranges(
    mode: Mode,
    block_length: int | None,
    threshold: float | None,
    max_steps: int | None,
    max_tokens: int | None,
    seed_first: bool | None,
) -> None:
    """Whatever is asked, each effective value is in range, and exactly the changed ones are listed."""
    facts = replace(
        PLAIN,
        requested_mode=mode.value,
        block_length=block_length,
        threshold=threshold,
        max_steps=max_steps,
        max_tokens=max_tokens,
        seed_first=seed_first,
    )
    decision = allowed(BASELINE, facts)
    assert 1 <= decision.block_length <= 32
    assert 1 <= decision.max_steps <= 32
    assert 1 <= decision.max_tokens <= 4096
    assert (decision.threshold is not None) == (mode is Mode.DIFFUSION)
    assert decision.threshold is None or 0 <= decision.threshold <= 1
    names = ("block_length", "threshold", "max_steps", "seed_first", "max_tokens")
    asked = {name: getattr(facts, name) for name in names if getattr(facts, name) is not None}
    changed = [f"clamp:{name}" for name, wish in asked.items() if wish != getattr(decision, name)]
    assert list(decision.rules) == ["modes.requested", *changed]


@pytest.mark.parametrize(("asked", "given_length"), [(1, 8), (8, 8), (15, 8), (16, 16), (31, 16), (99, 32)])
def test_choices_snap_downwards(tmp_path: Path, asked: int, given_length: int) -> None:
    """Among listed block lengths the largest not above the wish is given, else the smallest."""
    policy = strict(tmp_path, "[modes.linear_spec.block_length]\nchoices = [8, 16, 32]\n")
    assert allowed(policy, replace(PLAIN, block_length=asked)).block_length == given_length


def test_a_knob_the_client_may_not_set_keeps_its_default(tmp_path: Path) -> None:
    """With `client_may_set = false` the wish for seed_first is not granted, and listed."""
    policy = strict(tmp_path, "[modes.linear_spec.seed_first]\nclient_may_set = false\n")
    decision = allowed(policy, replace(PLAIN, seed_first=False))
    assert decision.seed_first is True
    assert "clamp:seed_first" in decision.rules


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(PLAIN, tenant="rival"), RefusalCode.TENANT_MISMATCH),
        (replace(PLAIN, prompt_tokens=101), RefusalCode.PROMPT_TOO_LONG),
        (replace(PLAIN, threshold=float("nan")), RefusalCode.KNOB_INVALID),
        (replace(PLAIN, threshold=float("inf")), RefusalCode.KNOB_INVALID),
    ],
)
def test_what_no_mode_could_serve_is_refused(tmp_path: Path, facts: RequestFacts, code: RefusalCode) -> None:
    """Another tenant's request, a prompt over the limit and a threshold that is no number are refused."""
    policy = strict(tmp_path, "[limits]\nmax_prompt_tokens = 100\n")
    refusal = refused(policy, facts)
    assert refusal.code is code
    assert refusal.status in (400, 403)


def test_a_shadow_document_records_and_does_not_act(tmp_path: Path) -> None:
    """Under shadow the request runs as asked, and the rules that would have applied are listed."""
    head = HEAD + 'enforcement = "shadow"\n'
    text = head + STRICT.removeprefix(HEAD) + "[limits]\ndefault_max_tokens = 5\nmax_tokens = 5\n"
    policy = policies.load(write(tmp_path, "shadow", text))
    decision = allowed(policy, replace(PLAIN, requested_mode="diffusion", max_tokens=50))
    assert decision.mode is Mode.DIFFUSION
    assert decision.max_tokens == 50
    assert decision.rules == ("modes.requested", "shadow:modes.allowed")
    clamped = allowed(policy, replace(PLAIN, max_tokens=50))
    assert clamped.rules == ("modes.default", "shadow:modes.default", "shadow:clamp:max_tokens")


def test_a_shadow_says_when_its_budgets_were_not_counted() -> None:
    """Where nobody could count, a shadow's decision says so; the same document in force would not have been asked at all."""
    facts = replace(PLAIN, exceeded=(policies.UNCOUNTED,))
    budget = '[[budgets]]\nid = "b"\nper = "key"\nunit = "tokens"\namount = "10"\nwindow = "day"\n'
    watching = made(budget, head='enforcement = "shadow"\n')
    assert allowed(watching, facts).rules[-1] == "shadow:budgets.unjudged"
    assert "shadow:budgets.unjudged" not in allowed(watching, PLAIN).rules
    (considered,) = policies.explain(watching, facts).considered
    assert (considered.match, considered.why) == (policies.Match.OPEN, ("nobody could count it for this request",))


def test_the_same_facts_give_the_same_verdict() -> None:
    """The judge is a function: two calls agree, and so do two loads of one file."""
    facts = replace(PLAIN, requested_mode="diffusion", threshold=0.25)
    assert decide(BASELINE, facts) == decide(policies.load(policies.BASELINE), facts)
