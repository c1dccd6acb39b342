"""Nothing leaves but a prefix of what is durable, and what left is counted."""

import asyncio
import hashlib
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import LogDown
from gateway.pieces import Failed, Text
from gateway.release import DurableTokens, Outcome, Outlet, Release, ReleaseRule
from gateway.scores import Said, TokenScore
from tests.gateway.test_openai_reply import ACCOUNT

POEM = "naïve — 日本語 🙂 end".encode()


def told(*scores: TokenScore) -> DurableTokens:
    """Tokens that are committed, with what they weigh."""
    return DurableTokens(Said(b"".join(score.data for score in scores), scores))


def tokens(data: bytes, size: int = 1) -> DurableTokens:
    """Tokens of `size` bytes each."""
    parts = [data[place : place + size] for place in range(0, len(data), size)]
    return told(*(TokenScore(part, -0.5 * index) for index, part in enumerate(parts)))


SPECIAL = TokenScore(b"", -1.0)
"""A token that stands for no text."""


def drain(outlet: Outlet) -> list[str]:
    """The texts handed out so far."""
    texts: list[str] = []
    while not outlet._pieces.empty():
        piece = outlet._pieces.get_nowait()
        if isinstance(piece, Text):
            texts.append(piece.text)
    return texts


def release(rule: ReleaseRule, *stop: str) -> tuple[Release, Outlet]:
    """A release and its outlet."""
    outlet = Outlet()
    return Release(rule, outlet, stop), outlet


@given(st.binary(max_size=60), st.lists(st.integers(1, 5), max_size=30))
def test_deltas_are_always_a_prefix_of_the_decoded_ids(data: bytes, sizes: list[int]) -> None:
    """However ids arrive, what was handed out is a prefix of their decoding, and all of it at the end."""
    made, outlet = release(ReleaseRule.STREAM)
    whole = data.decode("utf-8", "replace")
    out, place = "", 0
    for size in [*sizes, len(data)]:
        made.durable(tokens(data[place : place + size], 3))
        place += size
        out += "".join(drain(outlet))
        assert whole.startswith(out)
    made.whole()
    made.approve()
    made.end(ACCOUNT)
    assert out + "".join(drain(outlet)) == whole


def test_incomplete_utf8_is_kept_back() -> None:
    """The first three bytes of an emoji are not handed out before its fourth."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(tokens("🙂".encode()[:3]))
    assert drain(outlet) == []
    made.durable(told(*tokens("🙂".encode()[3:]).scores, SPECIAL))
    assert drain(outlet) == ["🙂"]


def test_whole_hands_out_nothing_before_the_verdict() -> None:
    """Under `whole` durable text waits for approval, is counted with it, and leaves in one piece once that is on record."""
    made, outlet = release(ReleaseRule.WHOLE)
    for byte in POEM:
        made.durable(tokens(bytes((byte,))))
    assert drain(outlet) == []
    made.whole()
    made.approve()
    assert drain(outlet) == []
    delivery = made.delivery(Outcome.COMPLETE)
    assert (delivery.bytes_released, delivery.sha256_released) == (len(POEM), hashlib.sha256(POEM).digest())
    made.end(ACCOUNT)
    assert drain(outlet) == [POEM.decode()]


def test_the_delivery_counts_and_hashes_what_left() -> None:
    """Bytes and hash of the delivery record are those of the UTF-8 that was handed out."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(tokens(POEM))
    made.whole()
    made.approve()
    delivery = made.delivery(Outcome.COMPLETE)
    made.end(ACCOUNT)
    text = "".join(drain(outlet)).encode()
    assert (delivery.bytes_released, delivery.sha256_released) == (len(text), hashlib.sha256(text).digest())
    assert delivery.outcome == "complete"


def test_nothing_leaves_after_the_client_left() -> None:
    """Text that became durable after the client left is neither handed out nor counted."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(tokens(b"ab"))
    made.client_left()
    made.durable(tokens(b"cd"))
    made.whole()
    made.approve()
    made.end(ACCOUNT)
    assert "".join(drain(outlet)) == "ab"
    assert made.delivery(Outcome.ABORTED).bytes_released == 2


def test_withheld_text_is_not_counted() -> None:
    """A `whole` answer that is never approved has released nothing."""
    made, _ = release(ReleaseRule.WHOLE)
    made.durable(tokens(POEM))
    assert made.delivery(Outcome.WITHHELD).bytes_released == 0


def test_a_failure_is_the_last_piece() -> None:
    """After a failure the pieces end, and later text is lost to the client."""

    async def collect() -> list[object]:
        made, outlet = release(ReleaseRule.STREAM)
        made.durable(tokens(b"ab"))
        made.fail(LogDown("down"))
        made.durable(tokens(b"cd"))
        return [piece async for piece in outlet.pieces()]

    text, failed = asyncio.run(collect())
    assert isinstance(text, Text) and text.text == "ab"
    assert isinstance(failed, Failed)


def test_scores_leave_with_the_text_of_their_tokens() -> None:
    """A token's score is handed out once all its bytes are cleared, in order, and a token without text has none."""
    made, outlet = release(ReleaseRule.STREAM, "stop")
    made.durable(told(TokenScore(b"a s", -1.0), SPECIAL, TokenScore(b"t", -2.0)))
    made.durable(told(TokenScore(b"ep", -3.0)))
    made.whole()
    made.approve()
    made.end(ACCOUNT)
    pieces = [outlet._pieces.get_nowait() for _ in range(outlet._pieces.qsize())]
    texts = [(piece.text, [score.logprob for score in piece.scores]) for piece in pieces if isinstance(piece, Text)]
    assert texts == [("a ", []), ("step", [-1.0, -2.0, -3.0])]


def ended(parts: Iterable[TokenScore], stops: list[str]) -> str:
    """The answer by its definition: the first token that completes a stop string is the last, and the text ends before it."""
    text = ""
    for part in parts:
        text += part.data.decode()
        if found := [place for stop in stops if (place := text.find(stop)) >= 0]:
            return text[: min(found)]
    return text


@given(st.text("abc", max_size=20), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.integers(1, 4))
@example("baa", ["a", "baa"], 1)
def test_text_ends_before_the_first_stop_string(text: str, stops: list[str], size: int) -> None:
    """Whatever the cut into tokens, the text handed out is the answer up to its first stop string, never more at any time."""
    made, outlet = release(ReleaseRule.STREAM, *stops)
    parts = tokens(text.encode(), size).scores
    wanted, out = ended(parts, stops), ""
    for part in parts:
        made.durable(told(part))
        out += "".join(drain(outlet))
        assert wanted.startswith(out)
    made.whole()
    made.approve()
    made.end(ACCOUNT)
    assert out + "".join(drain(outlet)) == wanted


def test_a_token_that_a_stop_string_cuts_has_no_score() -> None:
    """A token of which a part is withheld tells nothing about itself."""
    made, outlet = release(ReleaseRule.WHOLE, "no")
    made.durable(told(TokenScore(b"yes", -1.0), TokenScore(b" no", -2.0)))
    made.whole()
    made.approve()
    made.end(ACCOUNT)
    piece = outlet._pieces.get_nowait()
    assert isinstance(piece, Text) and piece.text == "yes "
    assert [score.data for score in piece.scores] == [b"yes"]


def test_nothing_leaves_once_withheld() -> None:
    """After a verdict against the answer no text leaves, not even at the end."""
    made, outlet = release(ReleaseRule.STREAM)
    made.durable(tokens(b"ab"))
    made.withhold()
    made.durable(tokens(b"cd"))
    made.whole()
    made.approve()
    made.end(ACCOUNT)
    assert "".join(drain(outlet)) == "ab"
