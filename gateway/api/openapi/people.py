"""The routes of /api for people and their programs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.api import act_forms, forms
from gateway.api.openapi.operation import (
    EITHER,
    EVENT,
    EVENTS,
    JSON,
    PERSON,
    TEXT,
    Answer,
    Operation,
    Security,
    of_header,
    of_query,
    ref,
)

FAILURE: Final = {JSON: ref(forms.Failure)}
MEANS: Final = {
    "400": "the request is malformed, or asks for something that there is not",
    "401": "nobody is signed in, and no valid key came along; or the password or passkey of an act is not theirs",
    "403": "whoever asks may not do this",
    "404": "there is no such thing that whoever asks may see",
    "409": "it does not stand so that this could be done",
    "410": "it was here, and can no longer be read: erased or retired",
    "412": "the content is another now than the one that was looked at",
    "413": "the body is too big",
    "428": "If-Match is missing: a decision says what was looked at",
    "429": "too many wrong passwords or passkeys: ask again after `retry-after` seconds",
    "503": "the log or the database does not answer: nothing was shown or done, ask again",
}
_ACTS: Final = ("400", "401", "403", "404", "409", "410", "413", "429", "503")
_LENDS: Final = ("400", "401", "403", "404", "413", "429", "503")
_READS: Final = ("400", "401", "403", "404", "503")
_TENANT: Final = {
    "name": "tenant", "in": "query", "required": False, "schema": TEXT,
    "description": "for people of `system`, which tenant is meant; for all others their own, or nothing",
}  # fmt: skip
_CSRF: Final = of_header("x-csrf-token", "the token of the session, as every form of its pages has it; for a key nothing", TEXT)
_IF_MATCH: Final = of_header(
    "If-Match", "the ETag of the approval: the SHA-256 of the content that was looked at, in quotes", TEXT
)
_ETAG: Final = {"etag": "the SHA-256 of the content that a decision is about, in quotes"}
_PREFIX: Final = "/api/approvals/{generation}"


def failures(*statuses: str) -> dict[str, Answer]:
    """Refusals by status."""
    return {status: Answer(MEANS[status], FAILURE) for status in statuses}


def _read(path: str, tag: str, does: str, form: type[msgspec.Struct], *more: str, **changes: Any) -> Operation:
    answers = {"200": Answer("it", {JSON: ref(form)}, changes.pop("headers", {})), **failures(*_READS, *more)}
    query = changes.pop("query", ())
    security: Security = changes.pop("security", PERSON)
    return Operation("get", path, tag, does, security, answers, [*query, _TENANT])


def _act(name: str, does: str, form: type[msgspec.Struct], *, about_content: bool = False, **changes: Any) -> Operation:
    more = ("412", "428") if about_content else ()
    parameters = [_TENANT, _CSRF, *([_IF_MATCH] if about_content else [])]
    answers = {"200": Answer("as it stands now", changes.pop("gives", {JSON: ref(forms.Case)}), _ETAG)}
    security: Security = changes.pop("security", PERSON)
    path = f"{_PREFIX}/{name}"
    return Operation("post", path, "approvals", does, security, answers | failures(*_ACTS, *more), parameters, ref(form))


_SHOWN: Final = {JSON: {"anyOf": [ref(forms.Case), ref(forms.CaseState)]}}
_CONTENT: Final = "\n\nThat it was read is on record before it is told. For approvers and auditors."
_LAST: Final = of_header("Last-Event-ID", "the event after which to go on", {"type": "string", "pattern": "^(-1|[0-9]{1,18})$"})
_GENERATION: Final = "/api/generations/{generation}"

OPERATIONS: Final = (
    _read(
        "/api/approvals", "approvals", "Held answers, by priority and by what expires first; a key sees those it asked for.",
        forms.Approvals, query=of_query(forms.QueueQuery), security=EITHER,
    ),
    Operation(
        "get", "/api/approvals/feed", "approvals",
        "What changes in the queue, as it changes.\n\n"
        "Server-sent events of type `approval`, whose data is a `Change`; ids are records. It does not end by itself.",
        PERSON, {"200": Answer("events", {EVENTS: EVENT}), **failures(*_READS)},
        [_TENANT, _LAST],
    ),
    Operation(
        "get", _PREFIX, "approvals", "One held answer by its records, without its text; for a key how its own stands.", EITHER,
        {"200": Answer("it", _SHOWN, _ETAG), **failures(*_READS, "410")}, [_TENANT],
    ),
    _read(
        f"{_PREFIX}/content", "approvals", f"The exact text that people decide on.{_CONTENT}", forms.Content, "410",
        headers=_ETAG,
    ),
    _act("decision", "Approve, reject, or break the glass.", act_forms.Decision, about_content=True),
    _act("edit", "Put another text in the place of the answer: a new cycle.", act_forms.Edit, about_content=True),
    _act("results", "Put a test result beside the content.", act_forms.Result, about_content=True),
    _act("revoke", "Take an own decision back, until the end.", act_forms.WithReason),
    _act("recall", "Say of an answer that has left that it should not have.", act_forms.WithReason),
    _act("review", "Look at a broken glass, as another than who broke it.", act_forms.WithReason),
    _act("cancel", "Give the answer up; a key gives up its own.", act_forms.Cancelling, gives=_SHOWN, security=EITHER),
    _act("desk", "Share the work: priority, assignment, lock.", forms.DeskChange, gives={JSON: ref(forms.Approval)}),
    _read("/api/delegations", "approvals", "Who may decide for whom, the oldest first.", act_forms.Delegations),
    Operation(
        "post", "/api/delegations", "approvals", "Lend the own right to decide to another user of the tenant, for a time.",
        PERSON, {"200": Answer("it", {JSON: ref(act_forms.Delegation)}), **failures(*_LENDS)}, [_TENANT, _CSRF],
        ref(act_forms.Lending),
    ),
    Operation(
        "delete", "/api/delegations/{delegation}", "approvals", "End an own delegation before its time.",
        PERSON, {"200": Answer("it, ended", {JSON: ref(act_forms.Delegation)}), **failures(*_LENDS)}, [_TENANT, _CSRF],
        ref(act_forms.Ending),
    ),
    _read(
        "/api/generations", "generations", "Generations, newest first; a key sees its own.", forms.Generations,
        query=of_query(forms.GenerationQuery), security=EITHER,
    ),
    _read(_GENERATION, "generations", "One generation by figures and names.", forms.Generation, security=EITHER),
    _read(f"{_GENERATION}/content", "generations", f"What was asked and what the model wrote.{_CONTENT}", forms.Answer, "410"),
    Operation(
        "get", f"{_GENERATION}/live", "generations",
        "What the model drafts, while it drafts it; none of it has been released.\n\n"
        "Server-sent events: `block` (a `Block`), `round` (a `Round`), `run` (a `Run`), and at last `end` (an `End`); ids are "
        "records. Each reading is on record before it is told. For approvers and auditors.",
        PERSON, {"200": Answer("events", {EVENTS: EVENT}), "204": Answer("there is no more"), **failures(*_READS, "410")},
        [_TENANT, _LAST],
    ),
    _read(f"{_GENERATION}/blocks/{{block}}", "generations", f"One diffusion block.{_CONTENT}", forms.Block, "410"),
    _read(
        f"{_GENERATION}/blocks/{{block}}/steps/{{step}}", "generations", f"One denoising step of a block.{_CONTENT}",
        forms.BlockStep, "410",
    ),
    _read(f"{_GENERATION}/rounds/{{number}}", "generations", f"One round of speculation.{_CONTENT}", forms.Round, "410"),
    _read(
        "/api/economics", "economics", "What each mode brought and cost, by day.", forms.EconomyDays,
        query=of_query(forms.DaysQuery),
    ),
)  # fmt: skip
FORMS: Final = (
    forms.Approvals, forms.Approval, forms.Change, forms.Case, forms.CaseState, forms.Content, forms.DeskChange,
    act_forms.Decision, act_forms.Edit, act_forms.Result, act_forms.WithReason, act_forms.Cancelling, act_forms.Delegations,
    act_forms.Delegation, act_forms.Lending, act_forms.Ending, forms.Generations, forms.Answer, forms.Block, forms.BlockStep,
    forms.Round, forms.Run, forms.End, forms.EconomyDays, forms.Failure, forms.QueueQuery, forms.GenerationQuery,
)  # fmt: skip
