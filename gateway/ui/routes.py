"""All pages behind one door."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, Router
from litestar.di import Provide

from gateway.house import House
from gateway.ui.door import Door
from gateway.ui.failures import HANDLERS
from gateway.ui.home import choose_tenant, choose_theme, home, patterns
from gateway.ui.reviewing.deciding import decide, edit, more
from gateway.ui.reviewing.desks import set_desk
from gateway.ui.reviewing.drafts import compare_drafts, player_data, proof_status
from gateway.ui.reviewing.pages import queue_page, review_page, side_of_queue, standing_of
from gateway.ui.reviewing.reading import ReadingRoom
from gateway.ui.signing_in import sign_in, sign_in_page, sign_out
from gateway.ui.visitor import visitor_of

BODY_LIMIT: Final = 1024 * 1024
PAGES: Final = (
    home, sign_in_page, sign_in, sign_out, choose_theme, choose_tenant, patterns,
    queue_page, side_of_queue, review_page, standing_of, decide, edit, more, set_desk,
    player_data, compare_drafts, proof_status,
)  # fmt: skip


def pages(house: House) -> Router:
    """The router of the pages of one house."""
    door, room = Door(house), ReadingRoom(house)

    async def opened(request: Request[Any, Any, Any]) -> Response[Any] | None:  # the framework copies what it is given
        return await door.open(request)

    return Router(
        path="/",
        route_handlers=list(PAGES),
        before_request=opened,
        dependencies={
            "visitor": Provide(visitor_of, sync_to_thread=False),
            "room": Provide(lambda: room, sync_to_thread=False),
            "jar": Provide(lambda: door.jar, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        request_max_body_size=BODY_LIMIT,
        include_in_schema=False,
    )
