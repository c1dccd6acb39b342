"""All pages behind one door."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, Router
from litestar.di import Provide

from gateway.house import House
from gateway.ui.account_page import account, change_password, lend, take_back
from gateway.ui.door import Door
from gateway.ui.economics import economics
from gateway.ui.exports import download, exports, make_export, show_export
from gateway.ui.failures import HANDLERS
from gateway.ui.generations import generation_page, generations, live_page, reading_page
from gateway.ui.home import choose_tenant, choose_theme, here, home, patterns
from gateway.ui.job_pages import show_job
from gateway.ui.keys_pages import key_page, keys_page, make_key, make_tenant, revoke_key, rotate_key, tenants_page
from gateway.ui.log_pages import log_page, verify_log
from gateway.ui.passkeys_page import add_passkey, begin_passkey, remove_passkey
from gateway.ui.people import change_person, make_person, people, person_page
from gateway.ui.policy_jobs import replay_policy, sweep_policy
from gateway.ui.policy_pages import apply_policy, explain, policies_page, policy_difference, policy_page, roll_back
from gateway.ui.retention import erase, place_hold, release_hold, retention, retire, set_rule
from gateway.ui.reviewing.deciding import decide, edit, more
from gateway.ui.reviewing.desks import set_desk
from gateway.ui.reviewing.drafts import compare_drafts, player_data, proof_status
from gateway.ui.reviewing.pages import queue_page, review_page, side_of_queue, standing_of
from gateway.ui.reviewing.reading import ReadingRoom
from gateway.ui.reviewing.view import view_of
from gateway.ui.signing_in import sign_in, sign_in_page, sign_out
from gateway.ui.visitor import visitor_of

BODY_LIMIT: Final = 1024 * 1024
PAGES: Final = (
    *(home, here, sign_in_page, sign_in, sign_out, choose_theme, choose_tenant, patterns, show_job),
    *(queue_page, side_of_queue, review_page, standing_of, decide, edit, more, set_desk),
    *(player_data, compare_drafts, proof_status),
    *(account, change_password, lend, take_back, begin_passkey, add_passkey, remove_passkey),
    *(people, make_person, person_page, change_person),
    *(keys_page, make_key, key_page, rotate_key, revoke_key, tenants_page, make_tenant),
    *(generations, generation_page, reading_page, live_page, economics),
    *(policies_page, policy_page, policy_difference, explain, apply_policy, roll_back, replay_policy, sweep_policy),
    *(log_page, verify_log),
    *(exports, make_export, show_export, download),
    *(retention, erase, place_hold, release_hold, set_rule, retire),
)


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
            "view": Provide(view_of, sync_to_thread=False),
            "jar": Provide(lambda: door.jar, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        request_max_body_size=BODY_LIMIT,
        include_in_schema=False,
    )
