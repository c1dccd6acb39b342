"""What the tests of a file share: one house behind the pages, and one browser: Debian's chromium, driven by playwright.

Playwright downloads nothing. While its browser is open its own loop runs in this thread, so a file that uses it has no
asynchronous tests.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.sync_api import Browser, expect, sync_playwright

from gateway.postgres import Server
from tests.gateway.ui.browsing import Site, site
from tests.postgres_fixtures import copied

NAMES = ("chromium", "chromium-browser", "google-chrome")

expect.set_options(timeout=30_000)  # as long as every other wait of playwright


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; each test opens contexts of its own."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found is not None, "no chromium on this machine: `apt-get install -y --no-install-recommends chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(cluster: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A house for all tests of a file, which bring people of their own. They run in the file's loop."""
    with copied(cluster) as database:
        async with site(database, tmp_path_factory.mktemp("shared")) as here:
            yield here
