"""Seats are bounded, given back on every way out, and the wait that is promised is an honest guess."""

from __future__ import annotations

import pytest

from gateway.errors import Overloaded
from gateway.seats import LONGEST_SECONDS, Seats


def taken(seats: Seats) -> None:
    """Take one seat for a generation."""
    with seats.held():
        pass


def test_no_more_than_there_are() -> None:
    """The seat beyond the last is refused with a time to come back, and one that is given back can be had again."""
    seats = Seats(2)
    taken(seats)
    taken(seats)
    with pytest.raises(Overloaded) as caught:
        taken(seats)
    assert caught.value.status == 429
    assert 1 <= int(caught.value.headers()["retry-after"]) <= LONGEST_SECONDS
    seats.leave()
    taken(seats)


def test_a_refused_request_gives_its_seat_back() -> None:
    """Whatever ends an admission early, a cancellation too, frees the seat."""
    seats = Seats(1)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), seats.held():
            raise error
    taken(seats)


def test_the_promise_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an end every three seconds the next seat is promised in about three; after a long silence in a minute at most."""
    now = [100.0]
    monkeypatch.setattr("gateway.seats.time.monotonic", lambda: now[0])
    seats = Seats(1)
    for _ in range(10):
        taken(seats)
        now[0] += 3
        seats.leave()
    taken(seats)
    assert [_promised(seats), _later(now, 1000, seats)] == [3, LONGEST_SECONDS]


def _promised(seats: Seats) -> int:
    with pytest.raises(Overloaded) as caught:
        taken(seats)
    return caught.value.retry_seconds


def _later(now: list[float], seconds: float, seats: Seats) -> int:
    now[0] += seconds
    return _promised(seats)
