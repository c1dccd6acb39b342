"""The matrix for answers that call a tool: judged by what they call and name, in every dialect, and no part of it leaves early.

The engine says the same call each time: how text is made has its matrix beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from audit.records import Delivery, encode_body
from gateway.law.lawbook import Standing
from policies import Policy
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed
from tests.gateway.law.scripted import Scripted
from tests.gateway.law.test_matrix import (
    ACTIONS,
    AT_ONCE,
    DIALECTS,
    MODES,
    STOPPED,
    Dialect,
    Told,
    every,
    law,
    outcome,
    told,
)
from tests.gateway.tooled import WEATHER, tooled
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

FUNCTION: Final[dict[str, Any]] = WEATHER["function"] | {"strict": False}
"""Nothing holds the answer to a schema, so that it may be made in any mode."""
THEIRS: Final[dict[str, Any]] = {
    "name": "weather",
    "description": FUNCTION["description"],
    "input_schema": FUNCTION["parameters"],
}
RULE: Final = '[[rules]]\nid = "r"\nphase = "release"\naction = "{action}"\nwhen = {{ {when} }}\n'
CALL: Final = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'


@dataclass(frozen=True, slots=True)
class Calling:
    """A row: the dialect, how it offers the one tool, and the word by which a call shows in its answers."""

    row: Dialect
    offer: dict[str, Any]
    word: str


CHAT, MESSAGES, RESPONSES = DIALECTS
ROWS: Final = (
    Calling(CHAT, {"tools": [{"type": "function", "function": FUNCTION}]}, '"tool_calls":['),
    Calling(MESSAGES, {"tools": [THEIRS]}, '"tool_use"'),
    Calling(RESPONSES, {"tools": [{"type": "function", **FUNCTION}]}, '"function_call"'),
)
RULES: Final = {
    'tools_called = ["weather"]': True,
    'paths = ["rome", "oslo"]': True,
    'tools_called = ["bash"]': False,
    'paths = ["*.py"]': False,
}
"""What is asked of the answer, and whether the call meets it."""


def ids() -> tuple[int, ...]:
    """The call as this model writes it."""
    return tuple(tooled().tokenizer.encode(CALL))


async def alike(inside: Housed, of: Policy, mode: str, seed: Iterator[int]) -> Told:
    """What the law said of one call, the same however it is asked for; the call has left unless the answer was stopped."""
    inside.house.laws.replace({TENANT: Standing(of)})
    found: list[Told] = []
    for calling in ROWS:
        for stream in (False, True):
            body = calling.row.body(tooled().name, mode, stream, next(seed)) | calling.offer
            answer = await inside.client.post(calling.row.path, json=body | {calling.row.most: 200})
            found.append(told(inside, answer))
            assert (calling.word in answer.text.replace(" ", "")) is not _stopped(inside, found[-1].verdict, answer)
    first, *others = found
    assert all(other == first for other in others)
    assert first.decision.facts is not None and first.decision.facts.tools == ("weather",)
    assert not any(city in encode_body(first.release) for city in (b"Rome", b"Oslo"))
    return first


def _stopped(inside: Housed, verdict: str, answer: httpx.Response) -> bool:
    (delivery,) = every(inside.records(answer), Delivery)
    assert (delivery.outcome, delivery.bytes_released > 0) == (
        ("withheld", False) if verdict in STOPPED else ("complete", True)
    )
    return verdict in STOPPED


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_is_judged_before_it_leaves(database: Database, tmp_path: Path, mode: str) -> None:
    """In every dialect, streamed or not, under every action of a gate the answer that calls a tool meets the same law."""
    async with housed(database, tmp_path, model=tooled(), engine=Scripted(ids())) as inside:
        seed = count()
        for action in ACTIONS:
            found = await alike(inside, law(action, mode), mode, seed)
            assert found.verdict == outcome(action, mode), (action, mode)
            assert found.verdict == "block" or [call.name for call in found.release.calls] == ["weather"]


@pytest.mark.parametrize("action", ["annotate", "hold", "block"])
async def test_what_is_called_and_named_decides(database: Database, tmp_path: Path, action: str) -> None:
    """By the tool that is called, and by what its arguments name, an answer is stopped; it is whole before anybody is told."""
    async with housed(database, tmp_path, model=tooled(), engine=Scripted(ids())) as inside:
        seed = count()
        for when, met in RULES.items():
            found = await alike(inside, policy(RULE.format(action=action, when=when) + AT_ONCE), "linear_spec", seed)
            expected = (action, ("rule:r",)) if met else ("allow", ())
            assert (found.release.verdict, found.release.rules) == expected, when
            assert found.decision.release == ("stream" if action == "annotate" else "whole")
