"""Pictures of the main pages for their README, made anew by `make screens`. No part of the suite."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from gateway.people.names import Role
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import plant_user
from tests.gateway.ui.test_review_browser import Pages, opened, pages, window

__all__ = ["pages", "window"]
FOLDER = Path(__file__).resolve().parents[3] / "gateway/ui/screens"
SIZE = (1280, 800)


def test_the_main_pages_have_their_picture_taken(pages: Pages) -> None:
    """Each page as a person sees it, with answers of every mode behind it."""
    plant_user(pages.window.held.site.database.app_url, TENANT, "ada", *Role)
    held = {mode: pages.held(mode) for mode in ("diffusion", "linear_spec", "ar")}
    with pages.of("ada", SIZE) as page:
        opened(page, held["diffusion"])
        for _ in range(3):
            page.keyboard.press("[")
        _take(page, "review")
        for name in ("generations", "economics", "log", "policies", "retention"):
            page.goto(f"/{name}")
            _take(page, name)
    with pages.of("ada", SIZE, color_scheme="dark") as page:
        opened(page, held["linear_spec"])
        _take(page, "review-dark")


def _take(page: Page, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=str(FOLDER / f"{name}.png"))
