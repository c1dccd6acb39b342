"""People and the running gateway: it finishes what was begun, knows whose key asks, and heeds a change at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from audit.records import PolicyDecision
from gateway.administration import Administration, Unfinished
from gateway.keyring import LASTS
from gateway.people import users
from tests.gateway.housed import housed
from tests.gateway.people.away import Away
from tests.gateway.people.office import ME, Office, urls_of
from tests.gateway.planted import CHEAP, PASSWORD, plant_key, plant_user


async def test_a_start_finishes_what_was_begun(office: Office, tmp_path: Path) -> None:
    """A change that was decided while the log was away is on record and in force once a gateway has started."""
    away = Administration(Away(), urls_of(office.database), office.settings.keys)
    with pytest.raises(Unfinished):
        await away.make("acme", ME, users.new_user("acme", "ada", "Ada", [], [], CHEAP.hash(PASSWORD.encode())))
    assert office.directory.users() == []
    async with housed(office.database, tmp_path):
        assert [line.name for line in office.directory.users()] == ["ada"] and len(office.acts()) == 1


async def test_a_users_key_asks_in_the_users_groups(office: Office, tmp_path: Path) -> None:
    """The law hears the user's groups, on record with its decision; a disabled user asks no more within a second."""
    url = office.database.app_url
    plant_user(url, "acme", "ada", groups=("leads", "coders"))
    key = plant_key(url, "acme", user="ada").text
    async with housed(office.database, tmp_path) as inside:
        answer = await inside.ask(key=key)
        (decision,) = (body for body in inside.records(answer) if isinstance(body, PolicyDecision))
        assert answer.status_code == 200 and decision.facts is not None and decision.facts.groups == ("coders", "leads")
        await office.make(users.disabled("acme", "ada"))
        await asyncio.sleep(LASTS)
        assert (await inside.ask(key=key)).status_code == 401
        assert (await inside.ask()).status_code == 200
    assert [act.requested_by for act in office.acts()] == ["account root"]
