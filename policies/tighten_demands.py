"""Where a child demands less than its parent: of a unit, of a request, of an answer, of whoever approves."""

from __future__ import annotations

from collections.abc import Iterator

from policies.approval import DEFAULT_APPROVAL, Approval, OnExpire
from policies.document import Document
from policies.gates import Gate, Refine
from policies.implies import covers, crosses_wherever
from policies.rules import Route, Rule
from policies.tighten_limits import Loosening, by_id, under
from policies.words import Action


def of_gates(parent: Document, child: Document) -> Iterator[Loosening]:
    """Gates that are gone, judge less, or demand less."""

    def judge(at: str, above: Gate, below: Gate) -> Iterator[Loosening]:
        yield from under(at, _gate(above, below))
        yield from under(at, _demand(parent, above, below))
        yield from _missing(at, (parent, child), (above, below))

    return by_id("gates", parent.gates, child.gates, judge)


def of_rules(parent: Document, child: Document) -> Iterator[Loosening]:
    """Rules that are gone, match less, or demand less."""

    def judge(at: str, above: Rule, below: Rule) -> Iterator[Loosening]:
        if below.phase is not above.phase:
            yield f"{at}.phase", f"the parent asks in the phase {above.phase.value!r}"
        if not covers(below.when, above.when):
            yield f"{at}.when", "matches less than the parent's"
        yield from under(at, _demand(parent, above, below))
        yield from _missing(at, (parent, child), (above, below))

    return by_id("rules", parent.rules, child.rules, judge)


def of_routes(parent: Document, child: Document) -> Iterator[Loosening]:
    """Routes that are gone, are for fewer requests, or offer more."""
    placed = {above.id: below.id for above, below in zip(parent.routes, child.routes, strict=False)}

    def judge(at: str, above: Route, below: Route) -> Iterator[Loosening]:
        if placed.get(above.id) != above.id:
            yield at, "the parent's routes come first, in its order"
        if not (covers(below.when, above.when) and covers(above.when, below.when)):
            yield f"{at}.when", "is for other requests than the parent's"
        if not set(below.modes) <= set(above.modes):
            yield f"{at}.modes", f"the parent offers only {', '.join(mode.value for mode in above.modes)}"
        yield from under(at, _knobs(above, below))

    return by_id("routes", parent.routes, child.routes, judge)


def of_approvals(parent: Document, child: Document) -> Iterator[Loosening]:
    """Approvals that are easier to have than the parent's of the same name."""
    for name in dict.fromkeys((*parent.approvals, DEFAULT_APPROVAL)):
        above = parent.approval(name)
        if name not in child.approvals and name in parent.approvals:
            yield f"approvals.{name}", "the parent has this approval"
            continue
        yield from under(f"approvals.{name}", _approval(above, child.approval(name)))


def _gate(above: Gate, below: Gate) -> Iterator[Loosening]:
    if not set(above.modes) <= set(below.modes):
        yield "modes", f"the parent judges {', '.join(mode.value for mode in above.modes)}"
    if below.metric is not above.metric:
        yield "metric", f"the parent judges {above.metric.value}"
    elif not crosses_wherever(below.below, below.above, (above.below, above.above)):
        key = "above" if crosses_wherever(below.below, None, (above.below, None)) else "below"
        bound = getattr(above, key)
        yield key, f"the parent's is {'not set' if bound is None else bound}"
    if below.least_tokens > above.least_tokens:
        yield "least_tokens", f"the parent judges units from {above.least_tokens} tokens on"


def _missing(at: str, documents: tuple[Document, Document], asked: tuple[Gate | Rule, Gate | Rule]) -> Iterator[Loosening]:
    """What is demanded where a figure is missing; said by the gate or rule, else by the document."""
    above, below = (each.on_missing or document.on_missing for each, document in zip(asked, documents, strict=True))
    if below.rank < above.rank:
        key = "on_missing" if asked[1].on_missing is None else f"{at}.on_missing"
        yield key, f"the parent demands {above.value!r} where the figure of {at} is missing"


def _demand(parent: Document, above: Gate | Rule, below: Gate | Rule) -> Iterator[Loosening]:
    if below.action.rank < above.action.rank:
        yield "action", f"the parent demands {above.action.value!r}"
    missing = above.on_missing or parent.on_missing
    if above.refine is not None and below.refine is not None:
        yield from ((f"refine.{key}", reason) for key, reason in _refine(above.refine, below.refine))
    holds = above.action is Action.HOLD or missing is Action.HOLD or (above.refine and above.refine.then is Action.HOLD)
    if holds and below.approval != above.approval:
        yield "approval", f"the parent asks for {above.approval!r}"


def _refine(above: Refine, below: Refine) -> Iterator[Loosening]:
    if below.threshold < above.threshold:
        yield "threshold", f"the parent's is {above.threshold}"
    if below.steps < above.steps:
        yield "steps", f"the parent spends {above.steps}"
    if below.attempts > above.attempts:
        yield "attempts", f"the parent gives up after {above.attempts}"
    if below.then.rank < above.then.rank:
        yield "then", f"the parent demands {above.then.value!r}"


def _knobs(above: Route, below: Route) -> Iterator[Loosening]:
    for key in ("block_length", "threshold", "max_steps"):
        ours, theirs = getattr(below, key), getattr(above, key)
        if theirs is not None and not (ours is not None and theirs.least <= ours.least and ours.most <= theirs.most):
            yield key, f"the parent's route keeps it in {theirs.least}..{theirs.most}"
    choices = () if above.block_length is None else above.block_length.choices
    if choices and not (below.block_length and set(below.block_length.choices or (0,)) <= set(choices)):
        yield "block_length.choices", f"the parent permits only {list(choices)}"
    kept = above.seed_first is not None and not above.seed_first.client_may_set
    if kept and (below.seed_first is None or below.seed_first.client_may_set):
        yield "seed_first.client_may_set", "the parent lets no client set it"


def _approval(above: Approval, below: Approval) -> Iterator[Loosening]:
    if above.groups and not (below.groups and set(below.groups) <= set(above.groups)):
        yield "groups", f"the parent lets only {', '.join(above.groups)} decide"
    if below.quorum < above.quorum:
        yield "quorum", f"the parent asks for {above.quorum}"
    if above.separation_of_duties and not below.separation_of_duties:
        yield "separation_of_duties", "the parent keeps requester and approver apart"
    yield from _expiry(above, below)
    if below.edit_allowed and not above.edit_allowed:
        yield "edit_allowed", "the parent lets nobody edit"
    if above.test_result_required and not below.test_result_required:
        yield "test_result_required", "the parent asks for a test result"


def _expiry(above: Approval, below: Approval) -> Iterator[Loosening]:
    """Where time ends in a rejection, more of it grants more; where it ends in a release, less of it does."""
    if above.on_expire is OnExpire.REJECT:
        if below.expires_seconds > above.expires_seconds:
            yield "expires_seconds", f"the parent's is {above.expires_seconds}"
        if below.on_expire is OnExpire.RELEASE:
            yield "on_expire", "the parent rejects what nobody decided"
    elif below.on_expire is OnExpire.RELEASE and below.expires_seconds < above.expires_seconds:
        yield "expires_seconds", f"the parent releases no sooner than after {above.expires_seconds} s"
