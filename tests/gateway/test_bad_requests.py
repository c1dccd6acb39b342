"""Every wrong request gets a clear answer in OpenAI's shape, and every authenticated one leaves a record."""

from __future__ import annotations

import gzip
import json
from typing import Any
from uuid import UUID

import httpx
import openai
import pytest

from audit.records import PolicyDecision
from tests.gateway.served import Served
from tests.plain import PLAIN

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
MODEL = "palimpsest-tiny"
TURN = b'{"model": "palimpsest-tiny", "messages": [{"role": "user", "content": "x"'

WRONG: list[tuple[str, Any, int, str, str | None]] = [
    ("unknown model", {"model": "gpt-9", "messages": HELLO}, 404, "model_not_found", "model"),
    ("unknown mode", {"model": f"{MODEL}:warp", "messages": HELLO}, 400, "mode_unknown", None),
    ("unknown mode in the body", {"model": MODEL, "messages": HELLO, "palimpsest": {"mode": "x"}}, 400, "mode_unknown", None),
    ("no messages", {"model": MODEL}, 400, "invalid_type", "messages"),
    ("empty messages", {"model": MODEL, "messages": []}, 400, "empty_messages", "messages"),
    ("messages of a wrong type", {"model": MODEL, "messages": "hello"}, 400, "invalid_type", "messages"),
    ("a message without a role", {"model": MODEL, "messages": [{"content": "x"}]}, 400, "invalid_type", "messages[0].role"),
    ("an unknown role", {"model": MODEL, "messages": [{"role": "king", "content": "x"}]}, 400, "unsupported_message",
     "messages[0].role"),
    ("no content", {"model": MODEL, "messages": [{"role": "user"}]}, 400, "invalid_type", "messages[0].content"),
    ("an image", {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400,
     "unsupported_content", "messages[0].content[0].type"),
    ("no model", {"messages": HELLO}, 400, "invalid_type", "model"),
    ("a list for a body", [1, 2], 400, "invalid_type", None),
    ("text for a body", b"hello", 400, "invalid_json", None),
    ("an empty body", b"", 400, "invalid_json", None),
    ("bytes that are no UTF-8", b'{"model": "\xff"}', 400, "invalid_json", None),
    ("a bad byte in a field of a message that nobody reads", TURN + b', "name": "\xff"}]}', 400, "invalid_json", None),
    ("a bad byte in a field that nobody knows", TURN + b'}], "metadata": {"a": "\xc3("}}', 400, "invalid_json", None),
    ("a bad byte in a schema",
     TURN + b'}], "response_format": {"type": "json_schema", "json_schema": {"schema": {"a": "\xe9"}}}}', 400,
     "invalid_json", None),
    ("a bad byte in a grammar", TURN + b'}], "palimpsest": {"grammar": "start: \x80"}}', 400, "invalid_json", None),
    ("a lone surrogate", b'{"model": "palimpsest-tiny", "messages": [{"role": "user", "content": "\\ud800"}]}', 400,
     "invalid_json", None),
    ("a body nested without end", b'{"tool_choice": ' + b"[" * 90_000, 400, "invalid_json", None),
    ("a body of values without end", b'{"tool_choice": ' + b"[" * 200_000, 400, "too_many", None),
    ("temperature as text", {"model": MODEL, "messages": HELLO, "temperature": "hot"}, 400, "invalid_type", "temperature"),
    ("temperature too high", {"model": MODEL, "messages": HELLO, "temperature": 2.5}, 400, "out_of_range", "temperature"),
    ("max_tokens of zero", {"model": MODEL, "messages": HELLO, "max_tokens": 0}, 400, "out_of_range", "max_tokens"),
    ("a seed of 65 bits", {"model": MODEL, "messages": HELLO, "seed": 2**64}, 400, "out_of_range", "seed"),
    ("stream as text", {"model": MODEL, "messages": HELLO, "stream": "yes"}, 400, "invalid_type", "stream"),
    ("a tool that is not described", {"model": MODEL, "messages": HELLO, "tools": [{"type": "function"}]}, 400, "invalid_type",
     "tools[0].function"),
    ("nine answers", {"model": MODEL, "messages": HELLO, "n": 9}, 400, "out_of_range", "n"),
    ("an empty stop string", {"model": MODEL, "messages": HELLO, "stop": [""]}, 400, "out_of_range", "stop"),
    ("another numeric policy", {"model": MODEL, "messages": HELLO, "palimpsest": {"numeric": "fast"}}, 400,
     "unsupported_parameter", "palimpsest.numeric"),
    ("a schema that is none", {"model": MODEL, "messages": HELLO, "response_format": {"type": "json_schema",
     "json_schema": {"schema": {"type": 5}}}}, 400, "invalid_constraint", "response_format"),
    ("a regex that does not close", {"model": MODEL, "messages": HELLO, "palimpsest": {"regex": "(a"}}, 400,
     "invalid_constraint", "palimpsest.regex"),
    ("a misspelt knob", {"model": MODEL, "messages": HELLO, "palimpsest": {"treshold": 1}}, 400, "invalid_type",
     "palimpsest.treshold"),
    ("a workflow without end", {"model": MODEL, "messages": HELLO, "palimpsest": {"workflow": "w" * 1_000_000}}, 400,
     "out_of_range", "palimpsest.workflow"),
    ("a prompt over the context", {"model": MODEL, "messages": [{"role": "user", "content": "word " * 3000}]}, 400,
     "context_length_exceeded", "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "param"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_request_is_told_what_is_wrong(served: Served, body: Any, status: int, code: str, param: str | None) -> None:
    """Status, type, code and parameter are as OpenAI gives them; the refusal is the request's one record."""
    answer = served.post(body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), answer.text
    assert error["type"] == "invalid_request_error" and len(error["message"]) > 10
    (record,) = served.log.bodies(UUID(answer.headers["x-request-id"]))
    assert isinstance(record, PolicyDecision)
    assert (record.outcome, record.status) == ("refuse", status) and record.reason.startswith(code)


def test_a_compressed_body_is_refused_as_such(served: Served) -> None:
    """Nobody here unpacks bodies, and says so rather than that the packed bytes are no text; `identity` is no coding."""
    plain = json.dumps({"model": MODEL, "messages": HELLO, "max_tokens": 1}).encode()
    error = served.post(gzip.compress(plain), **{"content-encoding": "gzip"}).json()["error"]
    assert (error["code"], error["type"]) == ("unsupported_encoding", "invalid_request_error") and "'gzip'" in error["message"]
    assert served.post(plain, **{"content-encoding": "identity"}).status_code == 200


ENDLESS = "x" * 4_000_000


@pytest.mark.parametrize(
    "body",
    [
        {"model": ENDLESS, "messages": HELLO},
        {"model": f"{MODEL}:{ENDLESS}", "messages": HELLO, "palimpsest": {"mode": "ar"}},
        {"model": MODEL, "messages": [{"role": ENDLESS, "content": "x"}]},
        {"model": MODEL, "messages": HELLO, "response_format": {"type": ENDLESS}},
        {"model": MODEL, "messages": HELLO, "palimpsest": {ENDLESS: 1}},
        {"model": MODEL, "messages": HELLO, "palimpsest": {"numeric": ENDLESS}},
        {"model": MODEL, "messages": HELLO, "palimpsest": {" - at `$\n" * 400_000: 1}},
    ],
    ids=["model", "mode", "role", "format", "knob", "numeric", "place"],
)
def test_a_refusal_does_not_echo_without_end(served: Served, body: Any) -> None:
    """However much a client sends, its error and the record of it quote some five hundred characters of it at most."""
    answer = served.post(body)
    assert 400 <= answer.status_code < 500
    error = answer.json()["error"]
    assert 10 < len(error["message"]) <= 503 and len(error["param"] or "") <= 503
    (record,) = served.log.bodies(UUID(answer.headers["x-request-id"]))
    assert isinstance(record, PolicyDecision) and len(record.reason) < 600 and error["message"] in record.reason


def test_contradicting_modes_are_refused(served: Served) -> None:
    """A suffix and a header that name different modes are a conflict, never a guess."""
    answer = served.post({"model": f"{MODEL}:ar", "messages": HELLO}, **{"x-palimpsest-mode": "diffusion"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "conflict"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer pal-wrong"}, {"authorization": "Basic cGFs"}, {"x-api-key": "\u00fc".encode()}],
)
def test_a_bad_key_is_401(served: Served, headers: dict[str, Any]) -> None:
    """No key and an unknown key get the same status and code, and nothing is written to any log."""
    before = served.log.size()
    answer = httpx.post(
        f"{served.url}/v1/chat/completions",
        content=json.dumps({"model": MODEL, "messages": HELLO}),
        headers=headers,
        trust_env=False,
        verify=PLAIN,
    )
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert served.log.size() == before


def test_the_official_client_raises_its_own_errors(served: Served) -> None:
    """The openai client turns our answers into the exceptions its users catch."""
    client = served.client()
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="mode"):
        client.chat.completions.create(model=f"{MODEL}:warp", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="pal-wrong").models.list()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/v1/chat/completions", 405)])
def test_an_unknown_path_or_method_has_the_same_shape(served: Served, method: str, path: str, status: int) -> None:
    """What the framework refuses looks like every other error."""
    answer = httpx.request(method, f"{served.url}{path}", trust_env=False, verify=PLAIN)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert ("/api/openapi.json" in answer.json()["error"]["message"]) is (status == 404)


def test_a_body_beyond_the_limit_is_413(served: Served) -> None:
    """A body over 16 MiB is refused by size, on record like every refusal, and the gateway goes on."""
    answer = served.post(b'{"model": "' + b"x" * (16 * 1024 * 1024) + b'"}')
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"
    assert served.ready()


def test_a_prompt_never_reaches_the_output_of_the_process(served: Served) -> None:
    """Neither prompts nor keys appear in what the gateway prints, errors included."""
    secret = "xyzzy-secret-words"
    served.post({"model": MODEL, "messages": [{"role": "user", "content": secret}], "max_tokens": 2})
    served.post({"model": MODEL, "messages": secret})
    printed = (served.settings.home / "gateway.log").read_text()
    assert "http.request" in printed and secret not in printed and served.key not in printed
