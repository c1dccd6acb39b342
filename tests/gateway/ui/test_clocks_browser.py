"""Clocks in a real browser: what is left is told by the gateway's clock, whatever the reader's machine says."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.gateway.ui.test_review_browser import Pages, opened, pages, window

__all__ = ["pages", "window"]
WRONG = "const now = Date.now; Date.now = () => now() + %d;"


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_wrong_clock_ends_nothing(pages: Pages, hours: int) -> None:
    """On a machine whose clock is hours off, an answer that has minutes left has these minutes, and they run down."""
    generation = pages.hold(workflow="today")
    with pages.of("grace") as page:
        page.context.add_init_script(WRONG % (hours * 3_600_000))
        opened(page, generation)
        clock = page.locator(".standing .clock")
        expect(clock).to_have_text(re.compile("^[34]:[0-9]{2}$"))
        told = clock.inner_text()
        expect(clock).not_to_have_text(told)
        expect(clock).to_have_text(re.compile("^3:[0-9]{2}$"))
