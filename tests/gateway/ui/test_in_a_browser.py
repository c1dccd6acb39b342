"""The pages in a real browser: sign-in, keys, both themes, narrow screens, and the rules for accessible content (axe-core)."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from audit.records import DecodeRun
from engine.tokenizer import Tokenizer
from gateway.people.names import Role
from gateway.review.marks import visible
from tests.audit.writer_samples import TENANT
from tests.gateway.dialects.test_leaving import AR, QUESTION
from tests.gateway.dialects.wired import RESPONSES, generation_of
from tests.gateway.planted import PASSWORD, plant_user
from tests.gateway.served import Served, environ
from tests.gateway.ui.archives import unpacked

ROOT = Path(__file__).parents[3]
PLACES = (
    "/approvals", "/generations", "/policies", "/economics", "/log", "/exports", "/retention", "/admin", "/admin/keys",
    "/admin/people/bea", "/account", "/patterns",
)  # fmt: skip
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
"""WCAG 2.2 AA and axe's own good practice."""
COLOURS = {"runOnly": ["color-contrast"]}
"""All that a theme changes."""


@pytest.fixture(scope="module")
def asked(served: Served) -> UUID:
    """A generation of the served house, and people who look at it."""
    plant_user(served.database.app_url, TENANT, "bea", *Role)
    said = [{"role": "user", "content": "hello"}]
    answer = served.post({"model": served.model, "messages": said, "max_tokens": 24, "temperature": 0})
    return UUID(answer.headers["x-request-id"])


@contextmanager
def looking(chromium: Browser, served: Served) -> Iterator[Page]:
    """A page of a browser that nobody has used; it has met no violation of the content policy and no fault when it closes."""
    context = chromium.new_context(base_url=served.url, viewport={"width": 1280, "height": 800})
    met: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: met.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: met.append(str(error)))
    try:
        yield page
        assert [each for each in met if "status of 4" not in each] == []
    finally:
        context.close()


def sign_in(page: Page, onward: str = "/patterns") -> None:
    """As a person does it."""
    page.goto(onward)
    page.get_by_label("Tenant").fill(TENANT)
    page.get_by_label("Name").fill("bea")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()


def violations(page: Page, rules: dict[str, Any] = RULES) -> list[str]:
    """What axe-core finds wrong with the page, a line each."""
    found: list[dict[str, Any]] = Axe().run(page, options=rules).response["violations"]
    return [f"{page.url} {each['id']}: {each['nodes'][0]['html'][:160]}" for each in found]


@pytest.mark.usefixtures("asked")
def test_a_person_signs_in(served: Served, chromium: Browser) -> None:
    """A wrong password is told in words on the page; the right one leads to the page that was asked for."""
    with looking(chromium, served) as page:
        page.goto("/log")
        page.get_by_label("Tenant").fill(TENANT)
        page.get_by_label("Name").fill("bea")
        page.get_by_label("Password").fill("wrong wrong wrong")
        page.get_by_role("button", name="Sign in").click()
        assert "No such user" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("Name").input_value() == "bea" and page.get_by_label("Password").input_value() == ""
        assert violations(page) == []
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Log", exact=True).wait_for()


@pytest.fixture(scope="module")
def inside(served: Served, chromium: Browser, asked: UUID) -> Iterator[Page]:
    """A page on which somebody with all roles has signed in once for all tests; the last generation is `asked`."""
    with looking(chromium, served) as page:
        sign_in(page, f"/generations/{asked}")
        yield page


@pytest.mark.parametrize("place", [*PLACES, "/generations/ID", "/generations/ID/reading", "/policies/explain?generation=ID"])
def test_every_page_is_accessible(inside: Page, asked: UUID, place: str) -> None:
    """axe-core finds nothing against WCAG 2.2 AA on a page with everything unfolded, nor against its colours in the dark."""
    inside.goto(place.replace("ID", str(asked)))
    inside.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert violations(inside) == []
    inside.emulate_media(color_scheme="dark")
    dark = violations(inside, COLOURS)
    inside.emulate_media(color_scheme="light")
    assert dark == []


def test_drafts_are_watched_while_they_are_made(talking: Served, endless: Path, chromium: Browser) -> None:
    """The page of a running request fills with what is recorded of it, and says when that has ended."""
    plant_user(talking.database.app_url, TENANT, "bea", *Role)
    with looking(chromium, talking) as page:
        sign_in(page)
        with RESPONSES.stream(talking, RESPONSES.body(talking, QUESTION, 1200, **AR)) as answer:
            generation = generation_of(answer)
            page.goto(f"/generations/{generation}")
            page.get_by_role("link", name="Watch it being drafted").click()
            answer.read()
        page.get_by_text("It has ended:").wait_for()
        decode = Tokenizer.load(endless).decode
        runs = (body for body in talking.log.bodies(generation) if isinstance(body, DecodeRun))
        drafted = "".join(visible(decode(body.output)) for body in runs)
        assert drafted and page.locator("[data-live]").text_content() == drafted
        assert violations(page) == []
        page.get_by_role("link", name="Read it and its drafts").click()
        page.get_by_role("slider").wait_for()


def test_nothing_is_cut_off_on_narrow_screens(inside: Page) -> None:
    """At 320 px, and at 200 % of an ordinary screen, no page has to be scrolled sideways."""
    for width in (320, 640):
        inside.set_viewport_size({"width": width, "height": 640})
        for place in PLACES:
            inside.goto(place)
            assert inside.evaluate("document.documentElement.scrollWidth") <= width, (place, width)
    inside.set_viewport_size({"width": 1280, "height": 800})


def test_the_keyboard_alone_reaches_a_generation(served: Served, chromium: Browser, asked: UUID) -> None:
    """From sign-in to the drafts of an answer without a mouse, the focus always visible; keys can be listed and turned off."""
    with looking(chromium, served) as page:
        page.goto("/generations")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.get_by_label("Tenant").focus()
        for text in (TENANT, "bea", PASSWORD):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Sign out").wait_for()
        page.locator("a[data-row]").first.wait_for()
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "text"
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Read it and its drafts").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/reading")
        page.keyboard.press("?")
        assert page.locator("#keys").get_attribute("open") is not None
        page.get_by_label("Single keys are on").uncheck()
        page.goto("/generations")
        page.keyboard.press("?")
        assert page.locator("#keys").get_attribute("open") is None


def test_filters_work_as_one_types_and_stand_in_the_address(inside: Page) -> None:
    """Choosing a filter changes the list and the address without another page; the theme that is chosen stays."""
    inside.goto("/generations")
    inside.get_by_label("Workflow").fill("nobody's")
    inside.get_by_label("Mode").select_option("linear_spec")
    inside.wait_for_url("**/generations?*mode=linear_spec*")
    inside.get_by_text("No generation is like that.").wait_for()
    inside.get_by_label("Workflow").fill("")
    inside.get_by_label("Workflow").press("Enter")
    inside.locator("a[data-row]").first.wait_for()
    inside.get_by_role("button", name="Dark").click()
    inside.locator("html[data-theme=dark]").wait_for()
    assert inside.evaluate("getComputedStyle(document.documentElement).color") == "rgb(236, 232, 223)"
    inside.get_by_role("button", name="As the system").click()
    inside.locator("html[data-theme=auto]").wait_for()


def test_a_verification_is_followed_to_its_end(inside: Page) -> None:
    """Verify now shows how far it is and then what was found, by itself."""
    inside.goto("/log")
    inside.get_by_role("button", name="Verify now").click()
    inside.get_by_text("nothing contradicts").wait_for(timeout=30_000)


def test_an_export_is_downloaded_and_verifies_as_its_page_says(inside: Page, tmp_path: Path) -> None:
    """From the form to an archive on disk; the command on the page, run there as it stands, finds nothing wrong."""
    inside.goto("/exports")
    inside.get_by_label("All content").check()
    inside.get_by_label("Reason").fill("for the auditor")
    inside.get_by_role("button", name="Make the export").click()
    inside.get_by_role("link", name="See and download it").click(timeout=30_000)
    command = inside.locator("pre.sheet").inner_text()
    with inside.expect_download() as download:
        inside.get_by_role("button", name="Download").click()
    with tarfile.open(download.value.path()) as archive:
        unpacked(archive, tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "python"
    told = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=environ() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
