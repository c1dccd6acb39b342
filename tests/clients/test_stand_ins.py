"""What the runs of real clients rest on: the listener's one habit, the grammars, and a recorder that changes nothing."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from engine.constrain import Constrainer
from engine.engine import Engine
from engine.model.checkpoint import LoadedModel, load
from engine.request import Constraint, ConstraintKind, Mode
from engine.scheduler import Capacity
from gateway.api.openapi.document import document
from gateway.calls import AnswerReader, CallArguments, CallBegun, CallEnded, parts_of
from gateway.dialects.request import ToolSpec
from tests.clients.api import sharpened
from tests.clients.checkpoints import listener, tooled
from tests.clients.held import FILE, call_or_words, whole_file
from tests.clients.recorder import recording
from tests.clients.wire import faults
from tests.engine.harness import asked, events_of, output
from tests.plain import PLAIN

USER: dict[str, Any] = {"role": "user", "content": "hello"}
CALLED: dict[str, Any] = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"function": {"name": "write", "arguments": {"text": "a"}}}],
}
RESULT: dict[str, Any] = {"role": "tool", "content": "done"}
TOOL = ToolSpec("write", "Writes.", {"type": "object", "properties": {"text": {"type": "string"}}})


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The listener, loaded from its folder."""
    return load(listener(tmp_path_factory.mktemp("checkpoints") / "listener"))


def answers(model: LoadedModel, prompts: Sequence[list[dict[str, Any]]]) -> list[str]:
    """What it says to each under the clients' grammar, sampled."""
    assert model.template is not None
    held = Constraint(ConstraintKind.GRAMMAR, call_or_words("write", {"text": "{}"}))
    changes: dict[str, Any] = {"temperature": 1.0, "stop": (model.config.eos_token_id,), "constraint": held}
    requests = [asked(Mode.AR, model.template.render(turns), 200, seed=seed, **changes) for seed, turns in enumerate(prompts)]
    found = events_of(Engine(model, capacity=Capacity(pages=256)), *requests)
    return [model.tokenizer.decode(output(found[request.id])) for request in requests]


def test_the_listener_calls_until_it_hears(heard: LoadedModel) -> None:
    """Without a result in its prompt it calls; with one, however far back, it speaks."""
    far: dict[str, Any] = {"role": "user", "content": "and then? " * 20}
    unheard = [[USER], [far], [USER, {"role": "assistant", "content": "Done."}, far]]
    after = [[USER, CALLED, RESULT], [USER, CALLED, RESULT, {"role": "assistant", "content": "Done."}, far]]
    *called, near, later = answers(heard, [*unheard, *after])
    for answer in called:
        parts = parts_of(AnswerReader([TOOL], "c"), answer)
        assert [type(part) for part in parts] == [CallBegun, CallArguments, CallEnded]
    for answer in (near, later):
        assert answer.endswith(".") and "<" not in answer


def test_the_grammars_can_be_held(heard: LoadedModel, tmp_path: Path) -> None:
    """Both forms compile for both vocabularies; the tooled checkpoint has tools and room for a client's prompt."""
    given = load(tooled(tmp_path / "tooled"))
    assert given.template is not None and given.template.call_form is not None
    assert given.config.max_position_embeddings == 16_384
    for model in (heard, given):
        constrainer = Constrainer(model.tokenizer, model.config.vocab_size, model.config.eos_token_id)
        for grammar in (whole_file(FILE), call_or_words("exec_command", {"cmd": f"printf '%s' '{{}}' > {FILE}"})):
            constrainer.check(Constraint(ConstraintKind.GRAMMAR, grammar))


def test_the_description_is_sharpened_and_stays_one() -> None:
    """In every body the model is one that is served and the answer short; what answers look like is left as it was."""
    plain = json.loads(msgspec.json.encode(document()))
    sharp = sharpened(copy.deepcopy(plain), "m")
    assert sharp["paths"].keys() == plain["paths"].keys()
    schemas = sharp["components"]["schemas"]
    bodies = [schema for name, schema in schemas.items() if name.endswith("Body")]
    assert len(bodies) == 5 and all(body["properties"]["model"]["enum"][0] == "m" for body in bodies)
    assert [schemas[name] for name in schemas if not name.startswith("asked.")] == [
        schema for name, schema in plain["components"]["schemas"].items() if not name.startswith("asked.")
    ]


class _Echo(BaseHTTPRequestHandler):
    """Says what it was asked, in two pieces."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("x-own", self.headers["x-own"])
        self.end_headers()
        for piece in (asked[:4], asked[4:]):
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
        """Nobody reads it."""


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that answers with what it was asked."""
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_recorder_changes_nothing(echo: str) -> None:
    """Body, query, status and headers pass it as they are, and it keeps both sides; a refusal is a fault of the exchange."""
    body = json.dumps({"text": "é\n"}).encode()
    with recording(echo) as recorder:
        told = httpx.post(f"{recorder.url}/v1/x?a=b", content=body, headers={"x-own": "yes"}, trust_env=False, verify=PLAIN)
        missing = httpx.get(f"{recorder.url}/v1/x", trust_env=False, verify=PLAIN)
    assert (told.status_code, told.content, told.headers["x-own"]) == (200, body, "yes")
    first, second = recorder.exchanges
    assert (first.path, first.place, first.asked, first.answer) == ("/v1/x?a=b", "/v1/x", body, body)
    assert list(faults(first)) == []
    assert missing.status_code == second.status == 501 and len(list(faults(second))) == 1
