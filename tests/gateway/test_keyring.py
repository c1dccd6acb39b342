"""Keys that were just found valid: asked for once in their time, and never remembered when they are not."""

from __future__ import annotations

from gateway.keyring import MOST, Keyring
from gateway.registry import Subject


class Counted:
    """Tables that hold these keys and count how often they are looked at."""

    def __init__(self, *keys: str) -> None:
        self.holders, self.asked = {key: Subject("acme", key) for key in keys}, 0

    def find(self, key: str) -> Subject | None:
        """The holder now."""
        self.asked += 1
        return self.holders.get(key)


async def test_a_valid_key_is_looked_up_once_in_its_time() -> None:
    """Asked again within it, the tables are left in peace."""
    tables = Counted("a", "b")
    ring = Keyring(tables.find, lasts=3600)
    assert [await ring.find(key) for key in "aabab"] == [Subject("acme", key) for key in "aabab"]
    assert tables.asked == 2


async def test_a_revoked_key_opens_nothing_after_its_time() -> None:
    """When the time is over the tables are asked, and what they say counts."""
    tables = Counted("a")
    ring = Keyring(tables.find, lasts=0)
    assert await ring.find("a") == Subject("acme", "a")
    tables.holders.clear()
    assert await ring.find("a") is None


async def test_what_is_no_key_is_not_remembered() -> None:
    """An unknown key is looked up every time, so one that has just been made opens at once."""
    tables = Counted()
    ring = Keyring(tables.find, lasts=3600)
    assert await ring.find("a") is None
    tables.holders["a"] = Subject("acme", "a")
    assert await ring.find("a") == Subject("acme", "a")


async def test_the_ring_has_an_end() -> None:
    """Beyond `MOST` keys the oldest is forgotten, not the rest."""
    tables = Counted(*map(str, range(MOST + 1)))
    ring = Keyring(tables.find, lasts=3600)
    for number in range(MOST + 1):
        await ring.find(str(number))
    await ring.find("0")
    await ring.find(str(MOST))
    assert tables.asked == MOST + 2
