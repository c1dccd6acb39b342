"""Nothing leaves but a prefix of what is durable, and what left is counted."""

import asyncio
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LogDown
from gateway.release import DurableIds, Failed, Outcome, Outlet, Release, ReleaseRule, Text

POEM = "naïve — 日本語 🙂 end".encode()


def of_bytes(ids: tuple[int, ...]) -> bytes:
    """A vocabulary whose ids are the bytes; 256 is special and stands for nothing."""
    return bytes(token for token in ids if token < 256)


def drain(outlet: Outlet) -> list[str]:
    """The texts handed out so far."""
    texts: list[str] = []
    while not outlet._pieces.empty():
        piece = outlet._pieces.get_nowait()
        if isinstance(piece, Text):
            texts.append(piece.text)
    return texts


def release(rule: ReleaseRule) -> tuple[Release, Outlet]:
    """A release and its outlet."""
    outlet = Outlet()
    return Release(of_bytes, rule, outlet), outlet


@given(st.binary(max_size=60), st.lists(st.integers(1, 5), max_size=30))
def test_deltas_are_always_a_prefix_of_the_decoded_ids(data: bytes, sizes: list[int]) -> None:
    """However ids arrive, what was handed out is a prefix of their decoding, and all of it at the end."""
    made, outlet = release(ReleaseRule.STREAM)
    whole = data.decode("utf-8", "replace")
    out, place = "", 0
    for size in [*sizes, len(data)]:
        made.durable(DurableIds(tuple(data[place : place + size])))
        place += size
        out += "".join(drain(outlet))
        assert whole.startswith(out)
    made.approve()
    assert out + "".join(drain(outlet)) == whole


def test_incomplete_utf8_is_kept_back() -> None:
    """The first three bytes of an emoji are not handed out before its fourth."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(DurableIds(tuple("🙂".encode()[:3])))
    assert drain(outlet) == []
    made.durable(DurableIds((*"🙂".encode()[3:], 256)))
    assert drain(outlet) == ["🙂"]


def test_whole_hands_out_nothing_before_the_verdict() -> None:
    """Under `whole` durable text waits for approval and then leaves in one piece."""
    made, outlet = release(ReleaseRule.WHOLE)
    for byte in POEM:
        made.durable(DurableIds((byte,)))
    assert drain(outlet) == []
    made.approve()
    assert drain(outlet) == [POEM.decode()]


def test_the_delivery_counts_and_hashes_what_left() -> None:
    """Bytes and hash of the delivery record are those of the UTF-8 that was handed out."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(DurableIds(tuple(POEM)))
    made.approve()
    text = "".join(drain(outlet)).encode()
    delivery = made.delivery(Outcome.COMPLETE)
    assert (delivery.bytes_released, delivery.sha256_released) == (len(text), hashlib.sha256(text).digest())
    assert delivery.outcome == "complete"


def test_nothing_leaves_after_the_client_left() -> None:
    """Text that became durable after the client left is neither handed out nor counted."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(DurableIds(tuple(b"ab")))
    made.client_left()
    made.durable(DurableIds(tuple(b"cd")))
    made.approve()
    assert "".join(drain(outlet)) == "ab"
    assert made.delivery(Outcome.ABORTED).bytes_released == 2


def test_withheld_text_is_not_counted() -> None:
    """A `whole` answer that is never approved has released nothing."""
    made, _ = release(ReleaseRule.WHOLE)
    made.durable(DurableIds(tuple(POEM)))
    assert made.delivery(Outcome.WITHHELD).bytes_released == 0


def test_a_failure_is_the_last_piece() -> None:
    """After a failure the pieces end, and later text is lost to the client."""

    async def collect() -> list[object]:
        made, outlet = release(ReleaseRule.STREAM)
        made.durable(DurableIds(tuple(b"ab")))
        made.fail(LogDown("down"))
        made.durable(DurableIds(tuple(b"cd")))
        return [piece async for piece in outlet.pieces()]

    text, failed = asyncio.run(collect())
    assert text == Text("ab")
    assert isinstance(failed, Failed)
