"""All routes under /api that people and their programs use, in one router."""

from __future__ import annotations

from typing import Final

from litestar import Router

from gateway.api.acts import attach_result, cancel, decide, edit, recall, review, revoke
from gateway.api.answering import HANDLERS
from gateway.api.approvals import list_approvals, share_work, show_approval, show_held_content
from gateway.api.delegations import end_delegation, lend, list_delegations
from gateway.api.described import openapi
from gateway.api.economics import show_economics
from gateway.api.feed import feed
from gateway.api.generations import list_generations, show_block, show_content, show_generation, show_round, show_step
from gateway.api.live import live

API: Final = Router(
    path="/api",
    route_handlers=[
        list_approvals, feed, show_approval, show_held_content, share_work, decide, edit, attach_result, revoke, recall, review,
        cancel, list_delegations, lend, end_delegation,
        list_generations, show_generation, show_content, show_block, show_step, show_round, show_economics, live,
        openapi,
    ],
    exception_handlers=HANDLERS,
)  # fmt: skip
