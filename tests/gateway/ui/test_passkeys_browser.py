"""Passkeys in a real browser with a virtual authenticator: made on the account page, and deciding on the review page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from audit.passkeys import read_evidence
from gateway.approvals.case import Case, State
from gateway.people.names import Role
from gateway.postgres import Server
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import PASSWORD, plant_user
from tests.gateway.ui.served_held import Window, windowed
from tests.gateway.ui.test_review_browser import all_seen, opened, sign_in
from tests.postgres_fixtures import copied

TOUCHES = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
    "automaticPresenceSimulation": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def window(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A house with an approver, reached by its name."""
    with copied(cluster) as database, windowed(database, tmp_path_factory.mktemp("passkeys")) as served:
        plant_user(database.app_url, TENANT, "grace", Role.APPROVER)
        yield served


@contextmanager
def at_the_desk(window: Window, chromium: Browser) -> Iterator[Page]:
    """A browser at the house's name; whatever it complains of fails the test."""
    complaints: list[str] = []
    context = chromium.new_context(base_url=window.named)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    sign_in(page, "grace")
    yield page
    context.close()
    assert complaints == []


def test_no_press_is_lost_before_the_script_came(window: Window, chromium: Browser) -> None:
    """The button that makes a passkey can be pressed only once somebody listens; the next test presses it."""
    with at_the_desk(window, chromium) as page:
        page.route("**/passkeys.js?*", lambda route: route.abort())
        page.goto("/account")
        page.get_by_label("Name of a new passkey").fill("my laptop")
        page.get_by_label("Your password").first.fill(PASSWORD)
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_role("button", name="Make it now")).to_be_disabled()


def test_a_passkey_is_made_and_signs(window: Window, chromium: Browser) -> None:
    """Enrolled after the password, it approves and rejects without one; it signs for nobody it cannot verify; then it goes."""
    with at_the_desk(window, chromium) as page:
        devices = page.context.new_cdp_session(page)
        devices.send("WebAuthn.enable")
        device = devices.send("WebAuthn.addVirtualAuthenticator", {"options": TOUCHES})["authenticatorId"]
        page.goto("/account")
        page.get_by_label("Name of a new passkey").fill("my laptop")
        page.get_by_label("Your password").first.fill(PASSWORD)
        page.get_by_role("button", name="Add a passkey").click()
        page.get_by_role("button", name="Make it now").click()
        expect(page.get_by_text("You can sign decisions with this passkey.")).to_be_visible()
        expect(page.get_by_text("my laptop", exact=True)).to_be_visible()
        assert Axe().run(page).violations_count == 0

        approved = window.ask(lambda site: site.hold("Write a function named add."))
        opened(page, approved)
        all_seen(page)
        page.keyboard.press("a")
        page.get_by_role("button", name="Approve with a passkey").click()
        expect(page.get_by_text("Your approval is signed and on record.")).to_be_visible()
        case: Case = window.ask(lambda site: site.case(approved))
        (signed,) = case.signatures
        assert (case.state, signed.decided.method) == (State.APPROVED, "webauthn")
        assert read_evidence(signed.decided.evidence).sign_count > 0

        rejected = window.ask(lambda site: site.hold("Write a function named drop."))
        opened(page, rejected)
        page.keyboard.press("r")
        page.get_by_label("Reason code").select_option("unsafe")
        devices.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
        page.get_by_role("button", name="Reject with a passkey").click()
        expect(page.get_by_text("No passkey was used:")).to_be_visible()
        assert window.ask(lambda site: site.case(rejected)).signatures == ()
        devices.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
        page.get_by_role("button", name="Reject with a passkey").click()
        expect(page.get_by_text("Your rejection is signed and on record.")).to_be_visible()

        page.goto("/account")
        page.get_by_text("Remove it").click()
        page.locator("details[open]").get_by_label("Your password").fill(PASSWORD)
        page.get_by_role("button", name="Remove my laptop").click()
        expect(page.get_by_text("Nothing is signed with it any more.")).to_be_visible()
        expect(page.get_by_role("button", name="Remove my laptop")).to_have_count(0)
