"""What the pages of a generation fetch: the player's data, a difference of two drafts, and whether the log bears it out."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from gateway.people.duties import READS_CONTENT
from gateway.review.diffing import Part, Side
from gateway.review.marks import visible
from gateway.review.player import player_of
from gateway.review.review import Review
from gateway.review.sentences import heading
from gateway.ui.rendering import roles_of
from gateway.ui.reviewing.drawing import drawn
from gateway.ui.reviewing.evidence import proven
from gateway.ui.reviewing.view import Viewing
from gateway.ui.visitor import only

CHOICES_MOST: Final = 400
_NAMED_MOST: Final = 32


@get("/drafts/{generation:uuid}/player.json", opt=only(*READS_CONTENT))
async def player_data(view: Viewing, generation: FromPath[UUID]) -> Response[bytes]:
    """Every state of the drafting, as the player draws it."""
    reading = await view.room.open(view.visitor, generation, "read an answer")
    data = await drawn(lambda: msgspec.json.encode(player_of(reading.review)))
    return Response(data, media_type="application/json", headers={"cache-control": "no-store"})


@get("/drafts/{generation:uuid}/compare", opt=only(*READS_CONTENT))
async def compare_drafts(view: Viewing, generation: FromPath[UUID]) -> Response[str]:
    """Two drafts of an answer, and what differs."""
    old, new = view.asked("old", _NAMED_MOST), view.asked("new", _NAMED_MOST)
    reading, parts = await view.room.compare(view.visitor, generation, old or "answer", new or "answer")

    def shown() -> Response[str]:
        written = [Part(part.side, visible(part.text)) for part in parts]
        return view.page(
            "review/compare.html", generation=generation, choices=choices_of(reading.review), old=old, new=new,
            parts=written, same=all(part.side is Side.BOTH for part in parts),
        )  # fmt: skip

    return await drawn(shown)


@get("/drafts/{generation:uuid}/proof", opt=only(*roles_of("/generations")))
async def proof_status(view: Viewing, generation: FromPath[UUID]) -> Response[str]:
    """Whether signed checkpoints hold all of its records. Shows no content, so it is no access to any."""
    return view.page("review/proof.html", generation=generation, proven=await proven(view.house, view.tenant, generation))


def choices_of(review: Review) -> list[tuple[str, str]]:
    """The drafts that can be compared: their names, and what a person calls them."""
    found = [("answer", "The answer as generated")]
    found += [(f"cycle-{number}", f"Edited, cycle {number}") for number in review.edits]
    for stage in review.stages:
        for frame in stage.frames:
            down = ", turned down" if stage.turned_down and frame is stage.frames[-1] else ""
            found.append((f"step-{frame.number}", f"{heading(stage, frame, len(review.stages))}{down}"))
            if len(found) >= CHOICES_MOST:
                return found
    return found
