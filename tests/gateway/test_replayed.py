"""`palimpsest audit replay`: an honest record comes out again, a doctored one does not; nothing is claimed without ground."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from audit.records import BlockTrace, Body, DecodeRun, EngineNote, PromptBody, RequestClose, RequestOpen, SpecRounds
from engine.gates import Gate, Ruling, Verdict
from engine.model.checkpoint import load
from engine.request import Mode
from gateway.replay import Claim, ReplayRefused, replay, the
from tests.audit.writer_samples import TENANT
from tests.engine.harness import model
from tests.faults.clients import streaming
from tests.gateway.housed import tiny
from tests.gateway.served import Served, environ
from tests.gateway.test_serving import QUESTIONS
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def asked(served: Served, mode: str) -> tuple[UUID, list[Body]]:
    """One answer's id and records."""
    body = {"model": f"{served.model}:{mode}", "messages": [{"role": "user", "content": QUESTIONS[2].prompt}]}
    answer = served.post(body | {"temperature": 0.8, "seed": 4})
    assert answer.status_code == 200, answer.text
    request = UUID(answer.headers["x-palimpsest-generation"])
    return request, served.log.bodies(request)


def changed(bodies: Sequence[Body], kind: type[Body], change: Callable[[Any], Body]) -> list[Body]:
    """The records with the last of one kind changed."""
    place = max(index for index, body in enumerate(bodies) if isinstance(body, kind))
    return [change(body) if index == place else body for index, body in enumerate(bodies)]


@pytest.mark.parametrize("mode", ["ar", "diffusion", "linear_spec", "quadratic_spec"])
def test_an_honest_record_comes_out_again(served: Served, mode: str) -> None:
    """Under strict, with the same weights and fingerprint, the claim is exact and there is no difference."""
    found = replay(tiny(), *asked(served, mode))
    assert (found.claim, found.difference) == (Claim.EXACT, None) and found.compared > 3


def test_whatever_the_load_chose_the_tokens_come_out_again(served: Served) -> None:
    """`auto` follows the load, and its tokens do not: they are those of `ar`, come again, and a changed one is named."""
    request, bodies = asked(served, Mode.AUTO.value)
    found = replay(tiny(), request, bodies)
    assert (found.claim, found.difference) == (Claim.EXACT, None) and "load" in found.reason
    other = asked(served, "ar")[1]
    crowded: list[Body] = [body for body in bodies if not isinstance(body, SpecRounds | DecodeRun | EngineNote | RequestClose)]
    crowded.extend(body for body in other if isinstance(body, DecodeRun))
    crowded.append(replace(the(RequestClose, other), records=len(crowded) + 1))
    again = replay(tiny(), request, crowded)
    assert (again.claim, again.difference, again.compared) == (Claim.EXACT, None, found.compared)
    wrong = changed(crowded, DecodeRun, lambda body: replace(body, output=(*body.output[:-1], body.output[-1] ^ 1)))
    assert "token" in str(replay(tiny(), request, wrong).difference)
    gated = changed(bodies, RequestOpen, lambda body: replace(body, gated=True))
    judged = replay(tiny(), request, gated, Gate(lambda _: Ruling(Verdict.ACCEPT), frozenset({Verdict.ACCEPT})))
    assert judged.claim is Claim.COMPARED and "load" in judged.reason


DOCTORED = [
    ("ar", DecodeRun, lambda body: replace(body, output=(*body.output[:-1], body.output[-1] ^ 1)), "token"),
    ("ar", DecodeRun, lambda body: replace(body, logprob=(*body.logprob[:-1], -9.5)), "token"),
    ("diffusion", BlockTrace, lambda body: replace(body, tokens=(body.tokens[0] ^ 1, *body.tokens[1:])), "block"),
    ("linear_spec", SpecRounds, lambda body: replace(body, rounds=body.rounds[:-1]), "round"),
    ("linear_spec", RequestClose, lambda body: replace(body, forwards=body.forwards + 1), "totals"),
    ("ar", RequestOpen, lambda body: replace(body, max_tokens=5), "now nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "kind", "change", "named"), DOCTORED, ids=[f"{d[0]} {d[1].__name__}" for d in DOCTORED])
def test_a_doctored_record_is_named(
    served: Served, mode: str, kind: type[Body], change: Callable[[Any], Body], named: str
) -> None:
    """Whatever was changed in the records, the first place where the model disagrees is said."""
    request, bodies = asked(served, mode)
    found = replay(tiny(), request, changed(bodies, kind, change))
    assert found.claim is Claim.EXACT and found.difference is not None and named in found.difference


def test_another_fingerprint_claims_nothing(served: Served) -> None:
    """A record of another machine is compared all the same."""
    request, bodies = asked(served, "ar")
    found = replay(tiny(), request, changed(bodies, RequestOpen, lambda body: replace(body, fingerprint="0" * 64)))
    assert found.claim is Claim.COMPARED and found.difference is None


@pytest.mark.parametrize("mode", ["ar", "diffusion", "linear_spec"])
def test_a_generation_cut_short_is_compared_as_far_as_it_came(talking: Served, endless: Path, mode: str) -> None:
    """A client that left in mid-answer leaves records that are the beginning of what a replay says."""
    with streaming(talking, mode, 600) as streamed:
        request = streamed.generation
    eventually(lambda: any(isinstance(body, RequestClose) for body in talking.log.bodies(request)))
    bodies = talking.log.bodies(request)
    found = replay(load(endless), request, bodies)
    assert found.claim is Claim.EXACT and found.difference is None and found.compared >= 1
    assert any(isinstance(body, EngineNote) and body.note == "aborted" for body in bodies)


def test_what_cannot_be_run_again_is_refused(served: Served) -> None:
    """Other weights, a gate, records that are gone: a reason, not a verdict."""
    request, bodies = asked(served, "ar")
    with pytest.raises(ReplayRefused, match="weights"):
        replay(model(), request, bodies)
    with pytest.raises(ReplayRefused, match="gate"):
        replay(tiny(), request, changed(bodies, RequestOpen, lambda body: replace(body, gated=True)))
    with pytest.raises(ReplayRefused, match="erased"):
        replay(tiny(), request, [body for body in bodies if not isinstance(body, PromptBody)])
    rest = [body for body in bodies if not isinstance(body, DecodeRun)]
    with pytest.raises(ReplayRefused, match=f"{len(bodies) - len(rest)} of its {len(bodies)} records can no longer be read"):
        replay(tiny(), request, rest)
    with pytest.raises(ReplayRefused, match="no such generation in this tenant"):
        replay(tiny(), uuid4(), [])
    opened = [body for body in bodies if isinstance(body, RequestOpen | PromptBody)]
    with pytest.raises(ReplayRefused, match="there is nothing to compare"):
        replay(tiny(), request, opened)


@pytest.mark.long
def test_the_command_exits_as_promised(served: Served, tmp_path: Path) -> None:
    """0 and a JSON for an honest record; 3, and a JSON without a verdict in its place, for a generation that is not there."""
    request, _ = asked(served, "linear_spec")
    urls = {"database_url": served.database.app_url, "reader_url": served.database.reader_url}
    given = environ(home=str(served.settings.home), keys=str(served.settings.keys), **urls)
    command = [sys.executable, "-m", "gateway", "audit", "replay", "--tenant", TENANT, "--reason", "a test"]
    command += ["--json", str(tmp_path / "out.json")]
    done = subprocess.run([*command, str(request)], cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert told["same"] is True and told["claim"] == "exact" and told["items"] > 0
    missing = subprocess.run([*command, str(uuid4())], cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert missing.returncode == 3 and "not replayed" in missing.stderr
    told = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert told["same"] is None and told["reason"] in missing.stderr
