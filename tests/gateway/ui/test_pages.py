"""Every page, for everybody whom it is for and for nobody else."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from gateway.people.names import Role
from tests.gateway.ui.browsing import Site, site
from tests.postgres_fixtures import Database

ALL = tuple(Role)


async def asked(here: Site) -> UUID:
    """The id of a request that was answered and that the projections have followed."""
    answer = await here.housed.ask("hello")
    await here.housed.house.projector.look("acme")
    return UUID(answer.headers["x-request-id"])


async def test_every_page_opens(database: Database, tmp_path: Path) -> None:
    """Whoever has all roles opens every page that takes no form."""
    async with site(database, tmp_path) as here, here.signed_in("ada", *ALL) as browser:
        request = await asked(here)
        for path in (
            "/generations",
            f"/generations/{request}",
            "/economics",
            "/log",
            "/exports",
            "/retention",
            "/patterns",
            "/policies",
            f"/policies/explain?generation={request}",
            "/admin",
            "/admin/people/ada",
            "/admin/keys",
            "/account",
        ):
            shown = await browser.get(path)
            assert shown.status_code == 200, (path, shown.text[-800:])
            assert "<h1>" in shown.text
