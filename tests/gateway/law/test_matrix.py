"""Every dialect, streaming or not, in every mode, under every action: one law, one record of it, and nothing leaves early."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest

from audit.judgements import ReleaseDecision
from audit.records import BlockTrace, Body, Delivery, GateVerdict, PolicyDecision, RequestOpen, SpecRounds, encode_body
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
from tests.gateway.tooled import WEATHER, tooled
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

B = TypeVar("B", bound=Body)
MODES: Final = ("ar", "diffusion", "linear_spec", "quadratic_spec", "auto")
ACTIONS: Final = ("allow", "annotate", "refine", "redo_ar", "hold", "block")
STOPPED: Final = {"hold": "this answer waits for a person's approval", "block": "the policy blocked this answer"}
"""How the note begins that a client gets in place of an answer."""
GATE = '[[gates]]\nid = "g"\nmodes = {modes}\nmetric = "{metric}"\n{bound}\naction = "{action}"\n'
AT_ONCE = "[approvals.default]\nhold_seconds = 0\n"
"""No connection is kept open for people."""
REFINE = 'refine = {{ threshold = 1.0, steps = 2, attempts = 1, then = "hold" }}\n'


@dataclass(frozen=True, slots=True)
class Dialect:
    """A row of the matrix: where requests go, what prompt and length are called, and an answer's text, whole or in events."""

    path: str
    prompt: str
    most: str
    whole: Callable[[dict[str, Any]], str]
    event: Callable[[dict[str, Any]], str]

    def body(self, model: str, mode: str, stream: bool, seed: int = 7) -> dict[str, Any]:
        """One request; at temperature 0 the seed makes it another one with the same answer."""
        asked = {"model": model, self.prompt: self.asked(), self.most: 6, "temperature": 0, "seed": seed, "stream": stream}
        return asked | {"palimpsest": {"mode": mode}}

    def asked(self) -> Any:
        """What every row of the matrix asks."""
        return [{"role": "user", "content": "hello"}]

    def streamed(self, body: str) -> str:
        """The text of a stream."""
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
        return "".join(self.event(json.loads(line)) for line in lines if line != "[DONE]")


def _delta(kind: str) -> Callable[[dict[str, Any]], str]:
    """The text of an event of that type, which has it as `delta`."""

    def text(event: dict[str, Any]) -> str:
        delta = event["delta"] if event["type"] == kind else ""
        return delta if isinstance(delta, str) else str(delta.get("text", ""))

    return text


DIALECTS: Final = (
    Dialect(
        CHAT, "messages", "max_tokens",
        lambda answer: str(answer["choices"][0]["message"]["content"]),
        lambda event: "".join(choice["delta"].get("content") or "" for choice in event["choices"]),
    ),
    Dialect(
        "/v1/messages", "messages", "max_tokens",
        lambda answer: "".join(block["text"] for block in answer["content"]),
        _delta("content_block_delta"),
    ),
    Dialect(
        "/v1/responses", "input", "max_output_tokens",
        lambda answer: "".join(part["text"] for item in answer["output"] for part in item["content"]),
        _delta("response.output_text.delta"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Going(Dialect):
    """A dialect that goes on with a text, which no chat template has touched: so its prompt and its answer are others."""

    def asked(self) -> Any:
        return "hello"


COMPLETIONS: Final = Going(
    "/v1/completions", "prompt", "max_tokens",
    lambda answer: str(answer["choices"][0]["text"]),
    lambda event: "".join(choice["text"] for choice in event["choices"]),
)  # fmt: skip


def law(action: str, mode: str) -> Policy:
    """One gate that demands the action of every unit, `refine` once of each; not checked, for a document may be wrong.

    No mode is allowed that the row does not need: two of the three that `auto` chooses among, and `ar` to decode again in.
    """
    modes = ["ar", "linear_spec"] if mode == "auto" else [mode]
    allowed = list(dict.fromkeys([*modes, "ar"])) if action == "redo_ar" else modes
    bound = ("attempt", "below = 0.5") if action == "refine" else ("tokens", "above = 0.5")
    gate = GATE.format(modes=json.dumps(modes), metric=bound[0], bound=bound[1], action=action)
    permitted = f"[modes]\nallowed = {json.dumps(allowed)}\ndefault = {json.dumps(allowed[0])}\n"
    return policy(gate + (REFINE.format() if action == "refine" else "") + AT_ONCE, permitted)


def outcome(action: str, mode: str) -> str:
    """What becomes of the answer: causal text that is to be refined or decoded again is held."""
    if action in ("refine", "redo_ar"):
        return "allow" if mode == "diffusion" else "hold"
    return action


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
async def test_one_law_for_every_way_to_ask(database: Database, tmp_path: Path, mode: str) -> None:
    """Whatever the dialect, streaming or not, the same facts give the same decision, rulings, verdict and text, or none."""
    async with housed(database, tmp_path) as inside:
        seed = count()
        for action in ACTIONS:
            inside.house.laws.replace({TENANT: Standing(law(action, mode))})
            chats = await alike(inside, DIALECTS, mode, seed)
            plain = await alike(inside, (COMPLETIONS,), mode, seed)
            assert chats.verdict == plain.verdict == outcome(action, mode), (action, mode)
            assert of_the_law(plain.decision) == of_the_law(chats.decision), (action, mode)
    assert inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def alike(inside: Housed, rows: Sequence[Dialect], mode: str, seed: Iterator[int]) -> Told:
    """What the law said of one question, which is the same however it is asked; so is the text that left."""
    name, asked_so = inside.house.intake.model.name, [(row, stream) for row in rows for stream in (False, True)]
    answers = [await inside.client.post(row.path, json=row.body(name, mode, stream, next(seed))) for row, stream in asked_so]
    first, *others = [told(inside, answer) for answer in answers]
    assert all(other == first for other in others)
    permitted = {*first.decision.modes_permitted}
    assert first.units and len(permitted) < 3 and all(ways_of(inside.records(answer)) <= permitted for answer in answers)
    texts = {_left(inside, first.verdict, *way, answer) for way, answer in zip(asked_so, answers, strict=True)}
    assert len(texts) == 1
    return first


def of_the_law(decision: PolicyDecision) -> PolicyDecision:
    """A decision but for how long the prompt was."""
    assert decision.facts is not None
    return replace(decision, facts=replace(decision.facts, prompt_tokens=0))


def ways_of(bodies: Sequence[Body]) -> set[str]:
    """What the engine was given to choose among, and the modes whose own records an answer has: blocks, or rounds."""
    (opening,) = every(bodies, RequestOpen)
    rounds = opening.mode if opening.mode in ("linear_spec", "quadratic_spec") else "linear_spec"
    own = {"diffusion": every(bodies, BlockTrace), rounds: every(bodies, SpecRounds)}
    return {*opening.modes_permitted} | {mode for mode, records in own.items() if records}


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
    (decision,), (release,) = every(bodies, PolicyDecision), every(bodies, ReleaseDecision)
    assert decision.facts is not None
    timeless = replace(decision, facts=replace(decision.facts, minute_of_week=None))
    return Told(timeless, tuple(every(bodies, GateVerdict)), release)


def every(bodies: Sequence[Body], kind: type[B]) -> list[B]:
    """The bodies of one kind."""
    return [body for body in bodies if isinstance(body, kind)]


def _left(inside: Housed, verdict: str, row: Dialect, stream: bool, answer: httpx.Response) -> str:
    """The text that left, which is what the records say that left; none of a stopped answer, in whose place a note says why."""
    (delivery,) = every(inside.records(answer), Delivery)
    if verdict in STOPPED:
        assert STOPPED[verdict] in answer.text
        assert (delivery.outcome, delivery.bytes_released) == ("withheld", 0)
        return ""
    text = row.streamed(answer.text) if stream else row.whole(answer.json())
    assert text and (delivery.outcome, delivery.bytes_released) == ("complete", len(text.encode()))
    assert ('"annotations":["gate:g"]' in answer.text.replace(" ", "")) is (verdict == "annotate")
    return text


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


RULE: Final = '[[rules]]\nid = "r"\nphase = "release"\naction = "{action}"\nwhen = {{ {when} }}\n'
RULES: Final = (
    ('tools_called = ["weather"]', "hold", True, True), ('paths = ["rome", "oslo"]', "block", False, True),
    ('tools_called = ["bash"]', "hold", False, False), ('paths = ["*.py"]', "block", True, False),
)  # fmt: skip


async def test_a_tool_call_is_judged_before_it_leaves(database: Database, tmp_path: Path) -> None:
    """By the tool that is called and by what its arguments name an answer is held or blocked; no part of the call leaves."""
    must: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 120}
    async with housed(database, tmp_path, model=tooled()) as inside:
        for seed, (when, action, stream, met) in enumerate(RULES):
            inside.house.laws.replace({TENANT: Standing(policy(RULE.format(action=action, when=when) + AT_ONCE))})
            answer = await inside.ask(**must, stream=stream, seed=seed)
            found = told(inside, answer)
            assert found.decision.facts is not None and found.decision.facts.tools == ("weather",)
            assert [call.name for call in found.release.calls] == ["weather"] and found.decision.release == "whole"
            assert (found.release.verdict, found.release.rules) == ((action, ("rule:r",)) if met else ("allow", ()))
            (delivery,) = every(inside.records(answer), Delivery)
            assert (delivery.outcome, delivery.bytes_released > 0) == (("withheld", False) if met else ("complete", True))
            assert ("tool_calls" in answer.text) is not met
            assert not any(city in encode_body(found.release) for city in (b"Rome", b"Oslo"))
