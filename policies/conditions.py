"""Conditions, made once per document: each can say whether it holds, what it asks, and what it saw.

Only what the gateway itself should have said fails closed: a time window with no time counts as open. What a client may leave
out (workflow, latency target) is simply not what the condition asks for; a risk that it leaves out is the document's
`risk_unsaid`, and one that no document knows is the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from policies.facts import AnswerFacts, RequestFacts, ToolCall
from policies.globs import name_matcher, path_matcher
from policies.rules import When
from policies.windows import WEEK, open_minutes
from policies.words import Range, Risk

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class Condition(Generic[Facts]):
    """One entry of a `when`: its key, what it asks in words, whether it holds, and what it saw."""

    key: str
    asks: str
    holds: Callable[[Facts], bool]
    sees: Callable[[Facts], object]


def of_request(when: When, risk_unsaid: Risk) -> tuple[Condition[RequestFacts], ...]:
    """The conditions on a request; the cheap ones first."""
    return tuple(_of_request(when, risk_unsaid))


def of_answer(when: When) -> tuple[Condition[AnswerFacts], ...]:
    """The conditions on an answer, but for its figures."""
    return tuple(_of_answer(when))


def risk_of(said: str | None, unsaid: Risk) -> Risk:
    """The risk of a request that says so; a word that is none, say a misspelling, must not evade a rule."""
    if said is None:
        return unsaid
    return _RISKS.get(said.casefold(), Risk.HIGH)


_RISKS = {risk.value: risk for risk in Risk}


def _of_request(when: When, unsaid: Risk) -> Iterator[Condition[RequestFacts]]:
    if when.risk is not None:
        yield _risk(when.risk, unsaid)
    if when.model is not None:
        models = frozenset(when.model)
        yield Condition("model", _one_of(when.model), lambda facts: facts.model in models, lambda facts: facts.model)
    if when.has_tools is not None:
        yield _has_tools(when.has_tools)
    if when.group is not None:
        yield _group(when.group)
    if when.workflow is not None:
        yield of_workflow(when.workflow)
    if when.tools_offered is not None:
        named = name_matcher(when.tools_offered)
        asks = _one_of(when.tools_offered)
        yield Condition("tools_offered", asks, lambda facts: any(map(named, facts.tools)), lambda facts: facts.tools)
    if when.latency_target_ms is not None:
        yield _latency(when.latency_target_ms)
    if when.time is not None:
        yield _time(open_minutes(when.time), f"{','.join(when.time.days)} {when.time.after}-{when.time.before}")


def of_workflow(globs: Sequence[str]) -> Condition[RequestFacts]:
    """The label of the workflow is one of these; a request without one has none of them."""
    named = name_matcher(globs)

    def holds(facts: RequestFacts) -> bool:
        return facts.workflow is not None and named(facts.workflow)

    return Condition("workflow", _one_of(globs), holds, lambda facts: facts.workflow)


def _risk(wanted: Sequence[Risk], unsaid: Risk) -> Condition[RequestFacts]:
    risks = frozenset(wanted)

    def seen(facts: RequestFacts) -> Risk:
        return risk_of(facts.risk, unsaid)

    return Condition("risk", _one_of(wanted), lambda facts: seen(facts) in risks, seen)


def _group(wanted: Sequence[str]) -> Condition[RequestFacts]:
    groups = frozenset(wanted)
    return Condition("group", _one_of(wanted), lambda facts: not groups.isdisjoint(facts.groups), lambda facts: facts.groups)


def _has_tools(wanted: bool) -> Condition[RequestFacts]:
    return Condition(
        "has_tools", str(wanted).lower(), lambda facts: bool(facts.tools) is wanted, lambda facts: len(facts.tools)
    )


def _latency(span: Range) -> Condition[RequestFacts]:
    def holds(facts: RequestFacts) -> bool:
        target = facts.latency_target_ms
        return target is not None and span.least <= target <= span.most

    return Condition("latency_target_ms", f"{span.least}..{span.most}", holds, lambda facts: facts.latency_target_ms)


def _time(table: bytes, asks: str) -> Condition[RequestFacts]:
    def holds(facts: RequestFacts) -> bool:
        minute = facts.minute_of_week
        return minute is None or not 0 <= minute < WEEK or table[minute] == 1

    return Condition("time", asks, holds, lambda facts: facts.minute_of_week)


def _of_answer(when: When) -> Iterator[Condition[AnswerFacts]]:
    if when.tools_called is not None:
        named = name_matcher(when.tools_called)
        yield Condition(
            "tools_called",
            _one_of(when.tools_called),
            lambda facts: any(named(call.name) for call in facts.calls),
            lambda facts: [call.name for call in facts.calls],
        )
    if when.paths is not None:
        yield _paths(when.paths)


def _paths(globs: Sequence[str]) -> Condition[AnswerFacts]:
    on_path = path_matcher(globs)

    def met(call: ToolCall) -> bool:
        if call.readable:
            return on_path(call.paths)
        return any(glob in call.met or glob not in call.asked for glob in globs)

    sees = lambda facts: f"the arguments of {len(facts.calls)} calls"  # noqa: E731 - as short as its neighbours
    return Condition("paths", _one_of(globs), lambda facts: any(map(met, facts.calls)), sees)


def _one_of(names: Sequence[str]) -> str:
    return "one of " + ", ".join(names)
