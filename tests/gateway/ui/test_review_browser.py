"""What a person does with a held answer in a real browser: read, step, sign, reject, edit, by mouse and by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from gateway.approvals.case import Case, State
from gateway.people.names import Role
from gateway.postgres import Server
from gateway.review.review import Review, review_of
from gateway.review.states import Standing, states_of
from gateway.ui.reviewing.powers import CODES
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import tiny
from tests.gateway.planted import PASSWORD, plant_user
from tests.gateway.ui.served_held import Window, windowed
from tests.postgres_fixtures import copied

QUESTION = "Write a Python function named add that adds two numbers."
"""Unlike what the checkpoint was made for, so that it is not sure of every token."""
EXERCISE = (
    "Define `measure_items`: from a list of integers called `items`, keep only those less than 18, negate each of them and "
    "return them as a list."
)
"""One of its exercises, whose answer is as long as it may be."""
WIDE, ZOOMED, NARROW = (1440, 820), (720, 410), (320, 640)


@pytest.fixture(scope="module")
def window(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """One house for this file, and three people who may approve."""
    with copied(cluster) as database, windowed(database, tmp_path_factory.mktemp("window")) as served:
        for name in ("grace", "linus", "margaret"):
            plant_user(database.app_url, TENANT, name, Role.APPROVER)
        yield served


@dataclass
class Pages:
    """The window, its browser, the sessions of people who came before, and answers that tests only read."""

    window: Window
    chromium: Browser
    sessions: dict[str, Any] = field(default_factory=dict)
    read: dict[str, UUID] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str, size: tuple[int, int] = WIDE, **context: Any) -> Iterator[Page]:
        """A signed-in person's page; whatever the browser complains of fails the test."""
        complaints: list[str] = []
        kept = {"storage_state": self.sessions[name]} if name in self.sessions else {}
        opened = self.chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, base_url=self.window.url, **kept, **context
        )
        page = opened.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
        if not kept:
            sign_in(page, name)
            self.sessions[name] = opened.storage_state()
        yield page
        opened.close()
        assert complaints == []

    def hold(self, mode: str = "linear_spec", question: str = QUESTION, **more: Any) -> UUID:
        """A held answer of several lines."""
        return self.window.ask(lambda site: site.hold(question, mode, max_tokens=44, **more))

    def held(self, mode: str = "linear_spec") -> UUID:
        """One that no test decides."""
        if mode not in self.read:
            self.read[mode] = self.hold(mode, EXERCISE)
        return self.read[mode]

    def case(self, generation: UUID) -> Case:
        """How its approval stands."""
        return self.window.ask(lambda site: site.case(generation))


@pytest.fixture(scope="module")
def pages(window: Window, chromium: Browser) -> Pages:
    """What the tests of this file share."""
    return Pages(window, chromium)


def sign_in(page: Page, name: str) -> None:
    """At the front door."""
    page.goto("/sign-in")
    page.get_by_label("Tenant").fill(TENANT)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals")


def opened(page: Page, generation: UUID) -> None:
    """The review page, once its player is ready."""
    page.goto(f"/approvals/{generation}")
    page.wait_for_selector("[data-player][data-ready]", state="attached")


def all_seen(page: Page) -> None:
    """Wait until the whole answer counts as seen."""
    expect(page.locator("[data-approve]")).to_have_attribute("aria-disabled", "false")


def sign(page: Page, button: str) -> None:
    """Give the password in the form that is open, and send it."""
    form = page.locator("details[open] form")
    form.get_by_label("Your password").fill(PASSWORD)
    form.get_by_role("button", name=button).click()


def test_an_answer_is_approved_once_all_of_it_was_on_screen(pages: Pages) -> None:
    """Approve does nothing until every line was seen; then a password signs, and the page says so."""
    generation = pages.hold()
    with pages.of("grace", (1440, 340)) as page:
        opened(page, generation)
        approve = page.locator("[data-approve]")
        expect(approve).to_have_attribute("aria-disabled", "true")
        expect(page.get_by_text("lines were on screen")).to_be_visible()
        approve.dispatch_event("click")  # a click of the driver would wait until it is enabled
        expect(page.locator("details[open] form")).to_have_count(0)
        for line in page.locator("[data-line]").all():
            line.evaluate(SHOWN)
        expect(approve).to_have_attribute("aria-disabled", "false")
        approve.click()
        sign(page, "Sign and approve")
        expect(page.get_by_text("Your approval is signed and on record.")).to_be_visible()
    case = pages.case(generation)
    assert case.state is State.APPROVED and case.signatures[0].decided.person == "grace"


def test_a_rejection_by_keyboard_alone(pages: Pages) -> None:
    """From the queue to the signature without a mouse: j, Enter, the player's keys, r, code, password, words."""
    generation = pages.hold(workflow="by-keyboard")
    with pages.of("grace") as page:
        page.goto("/approvals?workflow=by-keyboard")
        expect(page.locator("tbody a[data-row]")).to_have_count(1)
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/approvals/{generation}")
        page.wait_for_selector("[data-player][data-ready]", state="attached")
        page.keyboard.press("[")
        expect(page.locator("[data-says]")).to_contain_text("step")
        page.keyboard.press("]")
        expect(page.locator("[data-says]")).to_have_text("The answer as it stands")
        page.keyboard.press("n")
        expect(page.locator(".t:focus")).to_have_count(1)
        page.keyboard.press("r")
        focused = page.locator("details[data-key=r] select:focus")
        expect(focused).to_have_count(1)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Tab")
        page.keyboard.type("Ask again with the fee.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Your rejection is signed and on record.")).to_be_visible()
    case = pages.case(generation)
    assert (case.state, case.words) == (State.REJECTED, "Ask again with the fee.")
    (signed,) = case.signatures
    assert signed.decided.reason_code == CODES[0]


def test_an_edit_and_four_eyes(pages: Pages) -> None:
    """An editor's text is a new cycle; the editor cannot approve it, and two others have to, one after the other."""
    generation = pages.hold(workflow="hurry-not")
    with pages.of("grace") as page:
        opened(page, generation)
        page.keyboard.press("e")
        page.get_by_label("The answer, which others then approve").fill("def add(a, b):\n    return a + b\n")
        page.get_by_label("Reason, which is recorded").fill("it was wrong")
        sign(page, "Put it in the place of the answer")
        expect(page.get_by_text("Somebody else than its editor has to approve it.")).to_be_visible()
        expect(page.locator("[data-approve]")).to_have_count(0)
        expect(page.get_by_text("You are involved in this answer")).to_be_visible()
    assert pages.case(generation).opened.content == "def add(a, b):\n    return a + b\n"
    with pages.of("linus") as page:
        opened(page, generation)
        expect(page.locator("[data-sheet] .act")).to_contain_text("return a + b")
        all_seen(page)
        page.keyboard.press("a")
        sign(page, "Sign and approve")
        expect(page.get_by_text("Your approval is signed and on record.")).to_be_visible()
    assert pages.case(generation).state is State.APPROVED


def test_two_people_are_needed_where_the_law_says_so(pages: Pages) -> None:
    """After the first signature the answer still waits, and says for whom."""
    generation = pages.hold(workflow="release")
    for name, state in (("linus", State.PENDING), ("margaret", State.APPROVED)):
        with pages.of(name) as page:
            opened(page, generation)
            all_seen(page)
            page.keyboard.press("a")
            sign(page, "Sign and approve")
            expect(page.locator(".evidence")).to_contain_text(name.title())
        assert pages.case(generation).state is state


def test_what_changed_under_the_readers_eyes_is_not_signed(pages: Pages) -> None:
    """When somebody else edits it the open page says so by itself and signs nothing; a form sent all the same is stale."""
    generation = pages.hold()
    with pages.of("linus") as late, pages.of("grace") as editor:
        opened(late, generation)
        late.keyboard.press("r")
        late.locator("details[open] form").get_by_label("Reason code").select_option("wrong")
        opened(editor, generation)
        editor.keyboard.press("e")
        editor.get_by_label("The answer, which others then approve").fill("Another.")
        editor.get_by_label("Reason, which is recorded").fill("shorter")
        sign(editor, "Put it in the place of the answer")
        expect(editor.get_by_text("Somebody else than its editor has to approve it.")).to_be_visible()
        expect(late.get_by_text("This answer has changed since you opened it")).to_be_visible(timeout=15_000)
        send = late.locator("details[open] form button")
        expect(send).to_be_disabled()
        late.locator("details[open] form").evaluate(FORCED, PASSWORD)
        expect(late.locator("#refusal")).to_contain_text("look again")
    case = pages.case(generation)
    assert (case.opened.cycle, case.signatures) == (2, ())


def test_an_answer_that_nobody_decided_expires(pages: Pages) -> None:
    """The clock stands in the colour of what is held near its end; after it the page says that the answer expired."""
    with pages.of("grace") as page:
        opened(page, pages.hold(workflow="today"))
        expect(page.locator(".standing .clock.near")).to_have_count(1)
        generation = pages.hold(workflow="hurry")
        opened(page, generation)
        over = page.get_by_text(re.compile("it is expired|Nothing can be decided any more"))
        expect(over.first).to_be_visible(timeout=20_000)
        opened(page, generation)
        expect(page.get_by_text("Nothing can be decided any more.")).to_be_visible()
    assert pages.case(generation).state is State.EXPIRED


DRAWN = """() => Object.fromEntries([...document.querySelectorAll("[data-sheet] .t")].map((t) => {
  const box = t.getBoundingClientRect();
  return [t.dataset.i, [t.dataset.s ?? "", t.dataset.ghost ?? "", box.width, box.top]];
}))"""
SHOWN = """(line) => { line.scrollIntoView({ block: "center" });
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); }"""
FORCED = "(form, password) => { form.elements.password.value = password; form.submit(); }"
OPEN = {Standing.MASKED: "masked", Standing.REJECTED: "rejected", Standing.DROPPED: "dropped"}


def expected(review: Review, number: int) -> dict[int, tuple[str, str]]:
    """How each token of the sheet must be drawn after a frame, from the log's states."""
    state = list(states_of(review))[number]
    drawn: dict[int, tuple[str, str]] = {}
    for token in review.tokens:
        place = token.index - state.start
        if not 0 <= place < len(state.places):
            drawn[token.index] = ("" if token.index < state.settled else "ahead", "")
            continue
        found = state.places[place]
        name, same = found.standing.name.lower(), found.id == token.id
        if token.index < state.settled:
            drawn[token.index] = (name if same else "corrected" if found.standing is Standing.REJECTED else "", "")
        elif found.standing in OPEN:
            drawn[token.index] = (name, review.words.of(found.id))
        else:
            drawn[token.index] = (name if same else f"{name} other", "" if same else review.words.of(found.id))
    return drawn


@pytest.mark.parametrize("mode", ["diffusion", "linear_spec", "ar"])
def test_the_player_draws_the_logs_own_states(pages: Pages, mode: str) -> None:
    """Every step is drawn as the log has it, masks and drafts and corrections; not a token moves; the end is the answer."""
    generation = pages.held(mode)
    bodies = pages.window.ask(lambda site: _bodies(site, generation))
    review = review_of(bodies, tiny().tokenizer.decode_bytes)
    with pages.of("grace") as page:
        opened(page, generation)
        slider = page.get_by_role("slider", name="Step of the drafting")
        laid = page.evaluate(DRAWN)
        frames = len(list(states_of(review)))
        assert slider.get_attribute("max") == str(frames)
        assert frames > (1 if mode == "ar" else 2), "a record of `ar` holds 32 of the 44 tokens"
        for number in reversed(range(frames)):
            page.keyboard.press("[")
            drawn = page.evaluate(DRAWN)
            wanted = expected(review, number)
            assert {int(index): tuple(told[:2]) for index, told in drawn.items()} == {
                index: wanted[index] for index in map(int, drawn)
            }
            assert {index: told[2:] for index, told in drawn.items()} == {index: told[2:] for index, told in laid.items()}
            assert slider.get_attribute("aria-valuetext") == page.locator("[data-says]").text_content()
        slider.focus()
        page.keyboard.press("End")
        assert page.evaluate(DRAWN) == laid


async def _bodies(site: Any, generation: UUID) -> Any:
    return site.site.housed.log.bodies(generation)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_have_no_violations(pages: Pages, theme: Any) -> None:
    """axe finds nothing on the queue, on the review page with an open form, and in a comparison, in both themes."""
    generation = pages.held("diffusion")
    with pages.of("grace", color_scheme=theme) as page:
        for path in ("/approvals", f"/approvals/{generation}", f"/drafts/{generation}/compare?old=step-0&new=answer"):
            page.goto(path)
            if "compare" not in path and str(generation) in path:
                page.wait_for_selector("[data-player][data-ready]", state="attached")
                page.keyboard.press("[")
                page.keyboard.press("r")
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("size", [ZOOMED, NARROW], ids=["zoomed", "narrow"])
def test_it_works_small_and_at_twice_the_size(pages: Pages, size: tuple[int, int]) -> None:
    """At 320 pixels and at 200 % zoom nothing is cut off sideways and the decision is in view from the first line on."""
    generation = pages.held()
    with pages.of("grace", size) as page:
        for path in ("/approvals", f"/approvals/{generation}"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        expect(page.locator(".decision summary.refuse")).to_be_in_viewport()
        page.locator(".evidence").scroll_into_view_if_needed()
        expect(page.locator(".decision summary.refuse")).to_be_in_viewport()


def test_without_scripts_it_is_read_and_decided(pages: Pages) -> None:
    """Every step is there in words, and an approval takes the reader's own word for having read it all."""
    generation = pages.hold()
    with pages.of("margaret", java_script_enabled=False) as page:
        page.goto(f"/approvals/{generation}")
        page.get_by_text("The steps in words").click()
        expect(page.locator("[aria-label='The steps in words']")).to_contain_text(re.compile("verifier kept|picked"))
        page.locator("summary", has_text="Approve").click()
        page.get_by_label("I have read the whole answer").check()
        sign(page, "Sign and approve")
        expect(page.get_by_text("Your approval is signed and on record.")).to_be_visible()
    assert pages.case(generation).state is State.APPROVED


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} ${alert(3)} \u202eevil\u2066 </textarea>\"'"


WRITE = """I write it.
<tool_call>
<function=write_file>
<parameter=path>
src/fees.py
</parameter>
<parameter=content>
def add_fee(amount, rate, cap):
    return amount + min(fee, cap)
</parameter>
</function>
</tool_call>"""


def test_a_call_is_shown_as_what_it_does(pages: Pages) -> None:
    """A written file is a section with its path, its lines counted from 1, each token with its number on focus."""
    generation = pages.window.ask(lambda site: site.say(WRITE, "write_file"))
    with pages.of("grace") as page:
        page.goto(f"/generations/{generation}/reading")
        page.wait_for_selector("[data-player][data-ready]", state="attached")
        file = page.locator("[data-sheet] .act.file")
        expect(file.get_by_role("heading")).to_have_text("write_file: writes src/fees.py")
        assert file.locator("[data-line]").all_text_contents() == WRITE.splitlines()[7:9]
        page.keyboard.press("n")
        told = page.locator(".t:focus").evaluate("token => getComputedStyle(token, '::after').content")
        assert told == '"0.22"'
        expect(page.get_by_text("As it was written, to the letter")).to_be_visible()


def test_hostile_output_is_only_text(pages: Pages) -> None:
    """Markup, templates and marks that turn the direction reach the sheet, the player and its steps as visible text alone."""
    generation = pages.window.ask(lambda site: site.say(HOSTILE))
    with pages.of("grace") as page:
        page.goto(f"/generations/{generation}/reading")
        page.wait_for_selector("[data-player][data-ready]", state="attached")
        sheet = page.locator("[data-sheet] .act")
        expect(sheet).to_contain_text(HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u2066", "⟨U+2066⟩"))
        assert page.locator("[data-sheet] script, [data-sheet] img").count() == 0
        expect(page.get_by_text("2 characters of this answer have no shape of their own")).to_be_visible()
        page.keyboard.press("[")
        page.keyboard.press("n")
        expect(page.locator("[data-says]")).to_contain_text("Unsure span 1")
