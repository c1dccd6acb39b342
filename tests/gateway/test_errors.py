"""Every error has a status, OpenAI's shape and the headers that steer clients."""

import json

import pytest

from gateway.errors import BadRequest, EngineDown, GatewayError, LogDown, Refused, Unauthenticated, UnknownModel


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (BadRequest("m", param="p"), 400, "invalid_request_error", "invalid_request"),
        (Unauthenticated("m"), 401, "invalid_request_error", "invalid_api_key"),
        (UnknownModel("m", param="model"), 404, "invalid_request_error", "model_not_found"),
        (Refused("m", status=403, code="mode_not_permitted"), 403, "invalid_request_error", "mode_not_permitted"),
        (LogDown("m"), 503, "server_error", "audit_log_unavailable"),
        (EngineDown("m"), 503, "server_error", "engine_unavailable"),
    ],
)
def test_errors_have_openai_shape(error: GatewayError, status: int, kind: str, code: str) -> None:
    """The body is {"error": {message, type, param, code}} and nothing else."""
    assert error.status == status
    expected = {"error": {"message": "m", "type": kind, "param": error.param, "code": code}}
    assert json.loads(error.body()) == expected


@pytest.mark.parametrize("length", [499, 500, 501, 20_000_000])
def test_what_is_quoted_has_an_end(length: int) -> None:
    """Message and parameter are told whole up to 500 characters and cut, visibly, beyond."""
    text = "\u00e9" * length
    told = text if length <= 500 else "\u00e9" * 500 + "..."
    error = BadRequest(text, param=text)
    assert (error.message, error.param, str(error)) == (told, told, told)
    assert json.loads(error.body())["error"]["message"] == told


def test_headers_tell_clients_what_to_do() -> None:
    """A refusal forbids retries, an outage says when to try again, a missing key asks for one."""
    assert Refused("m", status=400).headers() == {"x-should-retry": "false"}
    assert LogDown("m").headers() == {"retry-after": "2"}
    assert Unauthenticated("m").headers() == {"www-authenticate": "Bearer"}
