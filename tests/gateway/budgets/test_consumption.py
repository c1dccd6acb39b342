"""What is reserved is never less than what a generation can use: tokens and passes, in every mode, under any gate."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

import policies
from engine import request as engine_request
from engine.engine import Engine
from engine.events import Finished, FinishReason
from engine.gates import Gate, Ruling
from engine.gates import Verdict as Ruled
from gateway.budgets.ask import account_of, asks, scope_of
from gateway.budgets.consumption import Consumption, Tariff, most
from gateway.budgets.from_log import usage_at_end
from policies import Budget, Decision, Mode, Per, RequestFacts, Unit, Usage, Verdict, Window
from policies.prices import ModePrice, Prices
from tests.engine.harness import asked, decoded, events_of, finished, model

PACE = Decimal("0.01")
FACTS = RequestFacts("acme", "key-1", "tiny", "ar", "Nightly", None, 40, None, None, None, None, 3)
VERDICTS = {Ruled.ACCEPT: Verdict.ACCEPT, Ruled.REFINE: Verdict.REFINE, Ruled.REDO_AR: Verdict.REDO_AR}


def decision(mode: Mode, tokens: int, block: int, steps: int, verdicts: frozenset[Verdict] = frozenset()) -> Decision:
    """A permission with these values, otherwise the baseline's."""
    found = policies.decide(policies.load(policies.BASELINE), FACTS)
    assert isinstance(found, Decision)
    return replace(found, mode=mode, max_tokens=tokens, block_length=block, max_steps=steps, verdicts=verdicts)


def ruled(ruling: Ruled) -> Gate:
    """A gate that always asks for the same, as strictly as a document can."""
    return Gate(lambda facts: Ruling(ruling, "always", threshold=1.0, steps=32), frozenset({Ruled.ACCEPT, Ruled.HOLD, ruling}))


@settings(max_examples=15)
@given(
    mode=st.sampled_from(list(Mode)),
    tokens=st.integers(1, 30),
    block=st.integers(1, 12),
    steps=st.integers(1, 12),
    stop=st.integers(0, 127),
    ruling=st.sampled_from(list(VERDICTS)),
)
def test_no_generation_uses_more_than_its_bound(
    mode: Mode, tokens: int, block: int, steps: int, stop: int, ruling: Ruled
) -> None:
    """Tokens and forwards of a real engine with a model that drafts badly stay within what is reserved for them."""
    gate = ruled(ruling) if mode is Mode.DIFFUSION else None
    request = asked(engine_request.Mode(mode.value), tokens=tokens, block=block, max_steps=steps, stop=(stop,), gate=gate)
    ended = finished(decoded(model(), request))
    bound = most(decision(mode, tokens, block, steps, frozenset({VERDICTS[ruling]}) if gate else frozenset()), 3, 1000, PACE)
    assert (bound.prompt_tokens, bound.answer_tokens) == (3, tokens)
    assert ended.prompt_tokens == 3 and ended.tokens <= bound.answer_tokens and ended.forwards <= bound.forwards
    assert bound.gpu_seconds == bound.forwards * PACE


def test_several_share_their_passes_and_are_bounded_each() -> None:
    """In a batch a generation is charged the passes in which it has rows, so its bound holds there too."""
    requests = [asked(engine_request.Mode(mode.value), tokens=20, block=4, max_steps=4) for mode in Mode for _ in range(2)]
    for request, events in zip(requests, events_of(Engine(model()), *requests).values(), strict=True):
        bound = most(decision(Mode(request.mode.value), 20, 4, 4), 3, 1000, PACE)
        assert 0 < finished(events).forwards <= bound.forwards


def test_the_context_bounds_an_answer() -> None:
    """No more is reserved than the prompt leaves of the context."""
    assert most(decision(Mode.AR, 4096, 8, 8), 200, 56, PACE) == Usage(200, 56, 56, 56 * PACE)


def test_money_goes_by_the_mode_that_was_granted() -> None:
    """The tariff of a request survives its way through the database, and `auto` costs as much as the dearest causal mode."""
    prices = Prices(ar=ModePrice(answer_tokens="10"), linear_spec=ModePrice(answer_tokens="30", forwards="0.5"))
    for mode, money in ((Mode.AR, "10"), (Mode.AUTO, "31")):
        tariff = Tariff.read(*Tariff(mode, prices).told())
        assert tariff.prices == prices
        consumed = Consumption.of_usage(tariff, Usage(0, 1_000_000, 2_000_000))
        told = {unit: Decimal(amount) for unit, amount in consumed.told().items()}
        assert told == {"tokens": 1_000_000, "forwards": 2_000_000, "gpu_seconds": 0, "money": Decimal(money)}


def test_what_failed_before_any_pass_has_used_nothing() -> None:
    """A request that the engine turned away is not charged for its prompt; one that was aborted in its prompt is."""
    counts = {"blocks": 0, "steps": 0, "rounds": 0, "output_digest": "", "busy_us": None}
    turned_away = Finished(asked(engine_request.Mode.AR).id, FinishReason.FAULT, 90, 0, forwards=0, **counts)  # type: ignore[arg-type]
    assert usage_at_end(turned_away, Decimal(0)) == Usage()
    assert usage_at_end(replace(turned_away, reason=FinishReason.ABORTED), Decimal(1)) == Usage(90, 0, 0, Decimal(1))
    assert usage_at_end(replace(turned_away, tokens=2, forwards=1), Decimal(1)) == Usage(90, 2, 1, Decimal(1))


def test_seconds_are_those_that_the_engine_measured() -> None:
    """Where the engine says how long the device worked that is what counts, else how long the request lasted."""
    end = finished(decoded(model(), asked(engine_request.Mode.AR)))
    assert end.busy_us is not None
    assert usage_at_end(end, Decimal(99)).gpu_seconds == Decimal(end.busy_us) / 1_000_000
    assert usage_at_end(replace(end, busy_us=None), Decimal(99)).gpu_seconds == 99


def test_accounts_are_told_apart() -> None:
    """Tenant, budget, unit, window and whose it is each make another account; amount and case of a workflow do not."""
    base = {"id": "b", "per": Per.WORKFLOW, "unit": Unit.TOKENS, "amount": "5", "window": Window.DAY}
    given = Budget(**base)  # type: ignore[arg-type]
    others = [
        account_of("acme", given, "x"),
        account_of("acme2", given, "x"),
        account_of("acme", given, "y"),
        *(account_of("acme", msgspec.structs.replace(given, **change), "x") for change in (
            {"id": "c"}, {"unit": Unit.FORWARDS}, {"window": Window.HOUR}, {"per": Per.KEY},
        )),
    ]  # fmt: skip
    assert len(set(others)) == len(others)
    assert account_of("acme", msgspec.structs.replace(given, amount="6"), "x") == others[0]
    assert scope_of(Per.WORKFLOW, FACTS) == scope_of(Per.WORKFLOW, replace(FACTS, workflow="nightLY")) == "nightly"


def test_a_hostile_workflow_is_still_a_text() -> None:
    """A name that no database can hold is shown otherwise, and its account is still its own."""
    policy = policies.load(policies.BASELINE)
    budget = Budget(id="b", per=Per.WORKFLOW, unit=Unit.REQUESTS, amount="5", window=Window.DAY, workflow="*")
    granted = replace(decision(Mode.AR, 1, 1, 1), budgets=(budget,))
    nothing = Consumption.of_usage(Tariff.of(policy, granted), Usage())
    names = ("a\0b", "a\ud800b", "a�b")
    (one, two, three) = (next(asks(policy, replace(FACTS, workflow=name), granted, nothing)) for name in names)
    assert len({one.account, two.account, three.account}) == 3
    for ask in (one, two, three):
        assert str(ask.told()["scope"]).encode() and "\0" not in str(ask.told()["scope"])
