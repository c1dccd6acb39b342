"""Our object beside the body: what its headers say, letter for letter."""

from __future__ import annotations

import json
from pathlib import Path

from audit.records import PolicyDecision, RequestOpen
from tests.gateway.housed import CHAT, housed
from tests.postgres_fixtures import Database

WORKFLOW = "prüfung"


async def test_a_header_says_what_its_bytes_say(database: Database, tmp_path: Path) -> None:
    """JSON is UTF-8 in a header too: a workflow has there the letters that it has in a body, raw or escaped."""
    async with housed(database, tmp_path) as inside:
        name = inside.house.intake.model.name
        body = {"model": name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
        for ascii_only in (True, False):
            header = json.dumps({"workflow": WORKFLOW}, ensure_ascii=ascii_only).encode()
            for told in (body, body | {"palimpsest": {"workflow": WORKFLOW}}):
                answer = await inside.client.post(CHAT, json=told, headers={b"x-palimpsest": header})
                assert answer.status_code == 200, answer.text
                (opening,) = (each for each in inside.records(answer) if isinstance(each, RequestOpen))
                assert opening.workflow == WORKFLOW


async def test_two_headers_of_a_name_do_not_differ(database: Database, tmp_path: Path) -> None:
    """What a client sends and what a proxy adds beside it are one thing or a 400 on record, never whichever is read first."""
    async with housed(database, tmp_path) as inside:
        name = inside.house.intake.model.name
        body = {"model": name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
        for header, one, other in (
            ("x-palimpsest", '{"risk": "low"}', '{"risk": "high"}'),
            ("x-palimpsest-mode", "ar", "linear_spec"),
        ):
            for path in (CHAT, "/v1/messages", "/v1/messages/count_tokens"):
                refused = await inside.client.post(path, json=body, headers=[(header, one), (header, other)])
                assert refused.status_code == 400 and header in refused.json()["error"]["message"]
                (record,) = inside.records(refused)
                assert isinstance(record, PolicyDecision) and record.outcome == "refuse"
            twice = await inside.client.post(CHAT, json=body, headers=[(header, one), (header, one)])
            assert twice.status_code == 200
