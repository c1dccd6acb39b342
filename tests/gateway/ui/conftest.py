"""One browser for each file of tests that needs one: Debian's chromium, driven by playwright, which downloads nothing.

While it is open playwright's own loop runs in this thread, so a file that uses it has no asynchronous tests.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; each test opens contexts of its own."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found is not None, "no chromium on this machine: `apt-get install -y --no-install-recommends chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
