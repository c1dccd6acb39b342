"""What is counted between two scrapes, and what happens when it cannot be known."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from gateway.errors import BadRequest, LogDown
from gateway.metrics import held
from gateway.metrics.counted import Counted
from gateway.metrics.held import HeldAnswers
from gateway.metrics.traffic import code_of, dialect_of
from gateway.projections.held import Held


def test_label_values_never_grow_without_end() -> None:
    """Beyond `most` sets of values everything new counts as `other`, and nothing is lost."""
    counted = Counted("path", known=[("known",)], most=3)
    for number in range(10):
        counted.add(str(number), by=2)
    counted.add("known")
    found = {observed.attributes["path"]: observed.value for observed in counted.observed() if observed.attributes}
    assert found == {"known": 1, "0": 2, "1": 2, "other": 16}


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", "openai.chat"),
        ("/v1/completions", "openai.completions"),
        ("/v1/responses/resp_1/cancel", "openai.responses"),
        ("/v1/messages/count_tokens", "anthropic.messages"),
        ("/v1/models", "v1"),
        ("/api/generations/1/live", "api"),
        ("/api/hello", "probe"),
        ("/health/ready", "probe"),
        ("/log/acme/checkpoint", "log"),
        ("/whatever/a/client/makes/up", "page"),
        ("", "page"),
    ],
)
def test_an_address_has_one_of_few_names(path: str, dialect: str) -> None:
    """Whatever the path, the label is one of our own words."""
    assert dialect_of(path) == dialect


def test_a_refusal_is_counted_by_our_word_for_it() -> None:
    """The code of an error is told, never its message; what is none of ours has a word too."""
    assert code_of(BadRequest("secret words", code="invalid_json")) == "invalid_json"
    assert code_of(LogDown("x")) == LogDown.default_code
    assert code_of(ValueError("secret words")) == "internal_error"
    assert code_of(OperationalError("secret", None, ValueError())) == "database_unavailable"


async def test_a_database_that_is_away_leaves_its_number_out() -> None:
    """What could not be counted is not told, rather than told as it was; the next look counts again."""
    found: list[Held | OperationalError] = [OperationalError("", None, ValueError()), Held(3, 1, 60.0)]

    def count() -> Held:
        given = found.pop(0)
        if isinstance(given, OperationalError):
            raise given
        return given

    answers = HeldAnswers(count)
    await answers.look()
    assert answers.by_state() is None and answers.oldest_seconds() is None
    await answers.look()
    assert [observed.value for observed in answers.by_state() or ()] == [3, 1] and answers.oldest_seconds() == 60.0


async def test_a_frozen_database_holds_no_scrape_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that does not come is waited for within the patience, by one thread however often somebody asks."""
    monkeypatch.setattr(held, "PATIENCE_SECONDS", 0.1)
    thawed, asked = threading.Event(), []

    def count() -> Held:
        asked.append(1)
        thawed.wait(20)
        return Held(1, 0, 1.0)

    answers, begun = HeldAnswers(count), time.monotonic()
    for _ in range(3):
        await answers.look()
    assert time.monotonic() - begun < 5 and len(asked) == 1 and answers.by_state() is None
    thawed.set()
    monkeypatch.setattr(held, "PATIENCE_SECONDS", 20.0)
    await answers.look()
    assert answers.oldest_seconds() == 1.0
