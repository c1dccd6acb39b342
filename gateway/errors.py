"""The gateway's one error tree; every member knows its HTTP status and its body in OpenAI's shape.

GatewayError
├── BadRequest           400  the request itself is wrong (`code` and `param` say where)
├── Unauthenticated      401  no key, an unknown key or a revoked one
├── Refused              4xx  the policy says no
├── UnknownModel         404
├── Withheld             403  a gate blocked the answer
│   ├── Declined         403  a person, or nobody in time, did not let it go
│   └── Deferred         400  a person has not decided yet; the same request asks again
├── Overloaded           429  too many generations wait or run; try again later
├── OverBudget           429  a budget of the policy has no room
└── Unavailable          503  the log, the database or the engine cannot serve; try again later
"""

from __future__ import annotations

from typing import Any, Final, Self
from uuid import UUID

import msgspec

from audit.records import PolicyDecision

ECHO_MOST: Final = 500
"""Characters of a message or a parameter that are told and recorded: most of what is quoted in them came from the client."""
RETRIED_WITHIN: Final = 60
"""Seconds that clients are known to wait at most before they ask again."""
APPROVAL_HEADER: Final = "x-approval-id"
"""Names the approval that an answer waits or waited for; it has the id of its generation."""
RETRY_LATER: Final = {"retry-after": "2"}
"""What every 503 says; a constant, because nobody can know when a part that is down comes back."""


class GatewayError(Exception):
    """A refusal or failure that a client is told about.

    `message` says what a person should do; it never carries keys, prompts or model text. Both it and `param` may quote what
    the client sent, so they are cut to `ECHO_MOST` characters here, before anybody hears of them.
    """

    status = 500
    kind = "server_error"
    default_code: str | None = None
    record: PolicyDecision | None = None
    """What goes on record of a refusal, where the law was asked."""

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        self.message = _cut(message)
        super().__init__(self.message)
        self.code = code if code is not None else self.default_code
        self.param = None if param is None else _cut(param)

    def recorded_as(self, record: PolicyDecision) -> Self:
        """This refusal, which the log will explain by `record`."""
        self.record = record
        return self

    def headers(self) -> dict[str, str]:
        """Response headers beyond the usual ones."""
        return {}

    def body(self) -> bytes:
        """The JSON error document, also the payload of an error chunk in a stream."""
        return error_body(self.message, kind=self.kind, param=self.param, code=self.code)


class BadRequest(GatewayError):
    """The request is malformed, asks for something unknown, or contradicts itself."""

    status = 400
    kind = "invalid_request_error"
    default_code = "invalid_request"


class Unauthenticated(GatewayError):
    """No valid API key came with the request."""

    status = 401
    kind = "invalid_request_error"
    default_code = "invalid_api_key"

    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"}


class UnknownModel(GatewayError):
    """The model id is not served here."""

    status = 404
    kind = "invalid_request_error"
    default_code = "model_not_found"


class NotHere(GatewayError):
    """What was asked for does not exist, or not for this key; the two are not told apart."""

    status = 404
    kind = "invalid_request_error"
    default_code = "not_found"


class Refused(GatewayError):
    """The policy does not permit the request; retrying the same one will not help."""

    kind = "invalid_request_error"
    default_code = "policy_refused"

    def __init__(self, message: str, *, status: int, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status

    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}


class Withheld(GatewayError):
    """The answer was not let go; its records say why."""

    status = 403
    kind = "invalid_request_error"
    default_code = "answer_withheld"

    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}

    def extension(self) -> dict[str, Any]:
        """For the `palimpsest` object, so that nobody takes the words that come instead for the model's."""
        return {"author": "gateway", "withheld": self.code}


class Declined(Withheld):
    """A held answer that stays here; the message is the reviewer's own, where there is one. `approval` is its id."""

    default_code = "answer_rejected"

    def __init__(self, message: str, *, approval: UUID, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.message = message  # not cut: it is our people's, not the client's
        self.approval = approval

    def headers(self) -> dict[str, str]:
        return super().headers() | {APPROVAL_HEADER: str(self.approval)}

    def extension(self) -> dict[str, Any]:
        return super().extension() | {"approval": {"id": str(self.approval)}}


class Deferred(Declined):
    """A held answer that nobody has decided on so far; whoever asks the same again is told how it stands then."""

    status = 400
    default_code = "approval_required"

    def __init__(self, message: str, *, approval: UUID, url: str) -> None:
        super().__init__(message, approval=approval)
        self.url = url


class Overloaded(GatewayError):
    """As many generations as this gateway takes on wait or run already; nothing was queued."""

    status = 429
    kind = "rate_limit_error"
    default_code = "overloaded"

    def __init__(self, message: str, *, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds

    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.retry_seconds)}


class OverBudget(GatewayError):
    """A budget of the policy has no room for the request; `retry_seconds` is None where waiting cannot help.

    It is `late` if a client that asks again by itself would do so too early, and then its kind is no rate limit: where that is
    told, with a 400 even, opencode waits as long as `retry-after` says, and shows nothing.
    """

    status = 429
    default_code = "budget_exceeded"

    def __init__(self, message: str, *, retry_seconds: int | None) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds
        self.late = retry_seconds is None or retry_seconds > RETRIED_WITHIN
        self.kind = BadRequest.kind if self.late else Overloaded.kind

    def headers(self) -> dict[str, str]:
        # Clients retry a 429 within seconds, whatever they are told: one that would come too early is told not to.
        told = {"x-should-retry": "false"} if self.late else {}
        return told if self.retry_seconds is None else told | {"retry-after": str(self.retry_seconds)}


class Unavailable(GatewayError):
    """A part that every answer needs is down; nothing was generated or released."""

    status = 503
    default_code = "unavailable"

    def headers(self) -> dict[str, str]:
        return RETRY_LATER


class LogDown(Unavailable):
    """The audit log cannot commit, so nothing may be released."""

    default_code = "audit_log_unavailable"


class EngineDown(Unavailable):
    """The engine thread has ended or the process is shutting down."""

    default_code = "engine_unavailable"


def told_once(error: GatewayError) -> dict[str, str]:
    """The headers of an error for clients that ask again unless told not to: what sending it again cannot mend says so."""
    again = "retry-after" in error.headers()
    return error.headers() | ({} if again else {"x-should-retry": "false"})


def _cut(text: str) -> str:
    return text if len(text) <= ECHO_MOST else f"{text[:ECHO_MOST]}..."


def error_body(message: str, *, kind: str, param: str | None, code: str | None) -> bytes:
    """OpenAI's error document: {"error": {"message", "type", "param", "code"}}."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
