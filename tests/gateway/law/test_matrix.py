"""Every dialect, streaming or not, in every mode, under every action: one law, one record of it, and nothing leaves early."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest

from audit.judgements import ReleaseDecision
from audit.records import Body, Delivery, GateVerdict, PolicyDecision
from audit.verify import Verdict as Found
from engine.gates import Gate, Ruling, Verdict
from engine.request import Mode
from gateway.law.lawbook import Standing
from gateway.release import ReleaseRule
from policies import Policy
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked
from tests.gateway.generating import Held, generating
from tests.gateway.housed import CHAT, Housed, housed
from tests.gateway.tenant_log import TenantLog
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

B = TypeVar("B", bound=Body)
MODES: Final = ("ar", "diffusion", "linear_spec", "quadratic_spec", "auto")
ACTIONS: Final = ("allow", "annotate", "refine", "redo_ar", "hold", "block")
STOPPED: Final = {"hold": (403, "answer_held"), "block": (403, "answer_blocked")}
GATE = '[[gates]]\nid = "g"\nmodes = {modes}\nmetric = "{metric}"\n{bound}\naction = "{action}"\n'
REFINE = 'refine = {{ threshold = 1.0, steps = 2, attempts = 1, then = "hold" }}\n'


@dataclass(frozen=True, slots=True)
class Dialect:
    """A row of the matrix: where requests go, how one is written, and what text came back, whole or in events."""

    path: str
    body: Callable[[str, str, bool], dict[str, Any]]
    text: Callable[[dict[str, Any]], str]
    streamed: Callable[[Sequence[dict[str, Any]]], str]


def _chat(model: str, mode: str, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": model, "messages": messages, "temperature": 0, "seed": 7, "max_tokens": 6, "stream": stream} | {
        "palimpsest": {"mode": mode}
    }


DIALECTS: Final = {
    "chat": Dialect(
        CHAT,
        _chat,
        lambda answer: str(answer["choices"][0]["message"]["content"]),
        lambda events: "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"]),
    )
}


def law(action: str, mode: str) -> Policy:
    """One gate that demands the action of every unit, `refine` once of each; not checked, for a document may be wrong."""
    modes = ["ar", "linear_spec", "quadratic_spec"] if mode == "auto" else [mode]
    bound = ("attempt", "below = 0.5") if action == "refine" else ("tokens", "above = 0.5")
    gate = GATE.format(modes=json.dumps(modes), metric=bound[0], bound=bound[1], action=action)
    return policy(gate + (REFINE.format() if action == "refine" else ""))


def outcome(action: str, mode: str) -> str:
    """What becomes of the answer: causal text that is to be refined or decoded again is held."""
    if action in ("refine", "redo_ar"):
        return "allow" if mode == "diffusion" else "hold"
    return action


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_one_law_for_every_way_to_ask(database: Database, tmp_path: Path, dialect: str, mode: str) -> None:
    """Streaming or not, the same facts give the same decision, rulings and verdict on record, and the same text or none."""
    row = DIALECTS[dialect]
    async with housed(database, tmp_path) as inside:
        for action in ACTIONS:
            inside.house.laws.replace({TENANT: Standing(law(action, mode))})
            name = inside.house.bench.model.name
            whole = await inside.client.post(row.path, json=row.body(name, mode, False))
            streamed = await inside.client.post(row.path, json=row.body(name, mode, True))
            first, second = told(inside, whole), told(inside, streamed)
            assert first == second, (action, mode)
            assert first.verdict == outcome(action, mode), (action, mode)
            assert {unit.mode for unit in first.units} <= {*first.decision.modes_permitted}
            _released(inside, row, first.verdict, whole, streamed)
    assert inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


@dataclass(frozen=True, slots=True)
class Told:
    """What the law said of one request, by its records; the time of asking is left out."""

    decision: PolicyDecision
    units: tuple[GateVerdict, ...]
    release: ReleaseDecision

    @property
    def verdict(self) -> str:
        """Of the answer; what is annotated leaves like what is allowed, with a remark."""
        remarked = any(unit.verdict == "accept" and unit.rule for unit in self.units)
        return "annotate" if self.release.verdict == "allow" and remarked else self.release.verdict


def told(inside: Housed, answer: httpx.Response) -> Told:
    """The law's records of one request, in their order before the delivery."""
    bodies = inside.records(answer)
    kinds = [type(body) for body in bodies if isinstance(body, PolicyDecision | GateVerdict | ReleaseDecision | Delivery)]
    assert kinds == [PolicyDecision, *[GateVerdict] * (len(kinds) - 3), ReleaseDecision, Delivery]
    (decision,), (release,) = _all(bodies, PolicyDecision), _all(bodies, ReleaseDecision)
    assert decision.facts is not None
    timeless = replace(decision, facts=replace(decision.facts, minute_of_week=None))
    return Told(timeless, tuple(_all(bodies, GateVerdict)), release)


def _all(bodies: Sequence[Body], kind: type[B]) -> list[B]:
    return [body for body in bodies if isinstance(body, kind)]


def _released(inside: Housed, row: Dialect, verdict: str, whole: httpx.Response, streamed: httpx.Response) -> None:
    """What the two clients got, and what the records say that they got."""
    handed = [_all(inside.records(answer), Delivery)[0] for answer in (whole, streamed)]
    lines = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    if verdict in STOPPED:
        assert (whole.status_code, whole.json()["error"]["code"]) == STOPPED[verdict]
        assert [event["error"]["code"] for event in events if "error" in event] == [STOPPED[verdict][1]]
        assert row.streamed([event for event in events if "error" not in event]) == ""
        assert [(delivery.outcome, delivery.bytes_released) for delivery in handed] == [("withheld", 0)] * 2
        return
    text = row.text(whole.json())
    assert text and row.streamed(events) == text
    assert [(delivery.outcome, delivery.bytes_released) for delivery in handed] == [("complete", len(text.encode()))] * 2
    assert whole.json()["palimpsest"].get("annotations", []) == (["gate:g"] if verdict == "annotate" else [])


@pytest.mark.parametrize("mode", [Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
async def test_nothing_leaves_before_the_verdict_is_on_record(log: TenantLog, mode: Mode) -> None:
    """Whatever is durable of an answer that may be held, its client has not a byte until the verdict itself is committed."""
    gate = Gate(lambda facts: Ruling(Verdict.ACCEPT), frozenset({Verdict.ACCEPT, Verdict.HOLD}))
    request = asked(mode, (1, 200, 300), 70, gate=gate)
    async with log.writing() as writer:
        held = Held(writer)
        async with generating(request, writer, log=held, release=ReleaseRule.STREAM) as run:
            seen: list[bool] = []

            def look(_: object) -> None:
                assert run.text() == ""
                seen.append(any(isinstance(body, ReleaseDecision) for body in held.committed))

            held.look = look
            await held.let_all_in(run)
            assert run.text() != "" and seen and not any(seen)
