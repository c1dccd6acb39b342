"""What a person does about a held answer. Each act takes the person's own password, there and then; deciding, a passkey too."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.approvals.case import Case
from gateway.approvals.choices import Approve, BreakGlass, Choice, Meaning, NotDecided, Reject, TestResult
from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.again import by_password
from gateway.people.duties import READS_CONTENT, READS_HELD
from gateway.people.hashing import Crowded
from gateway.people.person import Person, Signer, person_of
from gateway.people.proving import NotProved
from gateway.ui.failures import failed, sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.reviewing import view
from gateway.ui.reviewing.pages import answer_page
from gateway.ui.reviewing.reading import ReadingRoom
from gateway.ui.signing import PASSKEY_MOST, signer_by_passkey
from gateway.ui.visitor import Looking, NotAllowed, Visitor, only

EDIT_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a form that holds as much text as an edit may have, however forms spell it. There are never more characters."""
LOOKED_MOST: Final = 86_400
_MEANINGS: Final[dict[str, Meaning]] = {
    "approval": "approval",
    "review": "review",
    "responsibility": "responsibility",
    "authorship": "authorship",
}
_STATUS: Final = {
    "unknown": 404, "stale_content": 412, "stale_binding": 412, "ended": 409, "not_pending": 409, "already_decided": 409,
    "test_required": 409, "excluded": 403, "not_permitted": 403,
}  # fmt: skip
_BY_PASSKEY: Final = frozenset({"approve", "reject"})
"""Acts that are signatures over one cycle; every other one takes the password."""
_NOTICES: Final = {"approve": "approved", "reject": "rejected", "edit": "edited", "revoke": "taken-back"}
_KEPT: Final = ("act", "reason", "code", "meaning", "behalf", "text")


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the review page, and the person who has just proved it."""

    house: House
    tenant: str
    generation: UUID
    fields: Fields
    signer: Signer

    @property
    def by(self) -> Person:
        """The person."""
        return person_of(self.signer)

    @property
    def content(self) -> bytes:
        """The digest of the content that was looked at. Raises BadRequest."""
        return _digest(self.fields, "content")

    @property
    def seconds(self) -> int:
        """For how long the page was open, by the page's own word."""
        since = self.fields.text("since", 16)
        return min(max(int(time.time()) - int(since), 0), LOOKED_MOST) if since.isdecimal() else 0


Act = Callable[[Form], Awaitable[Case | NotDecided]]


@dataclass(frozen=True, slots=True)
class Page:
    """The review page that a form came from."""

    request: Request[Any, Any, Any]
    house: House
    visitor: Visitor
    room: ReadingRoom
    generation: UUID

    async def refused(self, status: int, told: str, fields: Fields) -> Response[Any]:
        """The page as it is now, with what was filled in unless it was about another content."""
        kept = {name: fields.text(name, EDIT_LIMIT) for name in _KEPT if name in fields.one}
        if status == 412:
            kept.pop("text", None)
        looking = view.View(self.request, self.house, self.visitor, self.room)
        try:
            return await answer_page(looking, self.generation, status, told, kept)
        except NotAllowed:  # it is over meanwhile, and the visitor reads what waits alone: then only why nothing was done
            return failed(self.request, status, told)


@post("/approvals/{generation:uuid}/decision", opt=only(*READS_HELD), status_code=200)
async def decide(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    room: NamedDependency[ReadingRoom],
    generation: FromPath[UUID],
) -> Response[Any]:
    """Approve or reject, signed."""
    return await _done(Page(request, house, visitor, room, generation), {"approve": _approve, "reject": _reject})


@post("/approvals/{generation:uuid}/edit", opt=only(*READS_HELD), status_code=200, request_max_body_size=EDIT_LIMIT)
async def edit(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    room: NamedDependency[ReadingRoom],
    generation: FromPath[UUID],
) -> Response[Any]:
    """Another text in the place of the answer; a new cycle begins."""
    return await _done(Page(request, house, visitor, room, generation), {"edit": _edit})


@post("/approvals/{generation:uuid}/more", opt=only(*READS_HELD), status_code=200)
async def more(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    room: NamedDependency[ReadingRoom],
    generation: FromPath[UUID],
) -> Response[Any]:
    """What is done now and then: taking back, tests, giving up, breaking the glass, and what is said afterwards."""
    acts: dict[str, Act] = {
        "revoke": lambda form: form.house.approvals.revoke(form.tenant, form.generation, form.fields.text("reason"), form.by),
        "cancel": lambda form: form.house.approvals.cancel(form.tenant, form.generation, form.by),
        "attach": _attach,
        "glass": _break_glass,
        "recall": _after("recall"),
        "review": _after("review"),
    }
    return await _done(Page(request, house, visitor, room, generation), acts)


async def _done(page: Page, acts: dict[str, Act]) -> Response[Any]:
    """Prove the person, act, and lead back to the page; a refusal is said on the page itself."""
    fields, house = await fields_of(page.request), page.house
    act = acts.get(fields.text("act"))
    if act is None:
        raise BadRequest("This form asks for nothing that can be done here.", param="act")
    try:
        by = await _proved(page, fields)
    except Crowded as error:
        answer = await page.refused(error.status, f"{error.message} Nothing was signed.", fields)
        answer.headers.update(error.headers())
        return answer
    if isinstance(by, str):
        return await page.refused(403, f"{by} Nothing was signed.", fields)
    outcome = await act(Form(house, page.visitor.tenant, page.generation, fields, by))
    if isinstance(outcome, NotDecided):
        return await page.refused(_STATUS[outcome.code], sentence(outcome.message), fields)
    notice = _NOTICES.get(fields.text("act"), "saved")
    reads = not outcome.state.ended or page.visitor.may(*READS_CONTENT)
    return Redirect(f"/approvals/{page.generation}?done={notice}" if reads else f"/approvals?done={notice}", status_code=303)


async def _proved(page: Page, fields: Fields) -> Signer | str:
    """Who signs, or what is told to somebody who did not prove it."""
    house, visitor = page.house, page.visitor
    found: Signer | NotProved
    if fields.text("act") in _BY_PASSKEY and fields.text("passkey", PASSKEY_MOST):
        wrong = "That is not your passkey, or it signed something else."
        found = await signer_by_passkey(house, visitor, fields, _digest(fields, "binding"))
    else:
        wrong = "That is not your password."
        found = await by_password(house.directory.prover, visitor.person, fields.text("password"))
    if isinstance(found, NotProved):
        return f"Too many attempts: wait {found.wait} s, then try again." if found.wait else wrong
    return found


def _approve(form: Form) -> Awaitable[Case | NotDecided]:
    if form.fields.text("seen") != "yes":
        return _answer(NotDecided("not_permitted", "an answer is approved once all of it has been read: say so"))
    choice = Approve(
        form.content, _meaning(form.fields), on_behalf_of=form.fields.text("behalf") or None, seconds_looked=form.seconds,
        binding=_digest(form.fields, "binding"),
    )  # fmt: skip
    return _decide(form, choice)


def _reject(form: Form) -> Awaitable[Case | NotDecided]:
    code, reason = form.fields.text("code"), form.fields.text("reason")
    choice = Reject(
        form.content, code, reason, on_behalf_of=form.fields.text("behalf") or None, seconds_looked=form.seconds,
        binding=_digest(form.fields, "binding"),
    )  # fmt: skip
    return _decide(form, choice)


def _break_glass(form: Form) -> Awaitable[Case | NotDecided]:
    binding = _digest(form.fields, "binding")
    return _decide(form, BreakGlass(form.content, form.fields.text("reason"), seconds_looked=form.seconds, binding=binding))


def _decide(form: Form, choice: Choice) -> Awaitable[Case | NotDecided]:
    return form.house.approvals.decide(form.tenant, form.generation, choice, form.signer)


def _edit(form: Form) -> Awaitable[Case | NotDecided]:
    text = form.fields.text("text", EDIT_LIMIT).replace("\r\n", "\n")  # forms send every end of a line as two characters
    return form.house.approvals.edit(form.tenant, form.generation, text, form.fields.text("reason"), form.by, form.content)


def _attach(form: Form) -> Awaitable[Case | NotDecided]:
    name, passed = form.fields.text("name", 64), form.fields.text("passed") == "yes"
    result = TestResult(form.content, name, passed, form.fields.text("reason"))
    return form.house.approvals.attach_result(form.tenant, form.generation, result, form.by)


def _after(act: str) -> Act:
    return lambda form: form.house.approvals.after_release(
        form.tenant, form.generation, act, form.fields.text("reason"), form.by
    )


async def _answer(refusal: NotDecided) -> Case | NotDecided:
    return refusal


def _meaning(fields: Fields) -> Meaning:
    """Raises BadRequest for a meaning that no signature has."""
    found = _MEANINGS.get(fields.text("meaning") or "approval")
    if found is None:
        raise BadRequest("A signature has no such meaning.", param="meaning")
    return found


def _digest(fields: Fields, name: str) -> bytes:
    """A digest that the form carries. Raises BadRequest."""
    text = fields.text(name)
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise BadRequest(f"The field {name} is no digest.", param=name) from error
