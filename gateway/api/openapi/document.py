"""The whole description, made once."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from gateway.api.openapi import dialects, outsiders, people
from gateway.api.openapi.operation import components
from gateway.release_name import release_name

OPERATIONS: Final = (*dialects.OPERATIONS, *people.OPERATIONS, *outsiders.OPERATIONS)
_TAGS: Final = {
    "generation": "Asking the model, in the dialects that clients already speak.",
    "approvals": "Held answers: who waits, what was decided, and deciding.",
    "generations": "What was generated: figures for many, recorded states for few; each reading of content is on record.",
    "economics": "What each mode brought and cost.",
    "evidence": "What lets anyone check a log from outside.",
    "health": "Whether somebody is here.",
}
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "metricsToken": {"type": "http", "scheme": "bearer", "description": "the operator's PALIMPSEST_METRICS_TOKEN"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "an API key"},
    "session": {
        "type": "apiKey", "in": "cookie", "name": "palimpsest_session",
        "description": "a person who signed in at /sign-in; over https the name begins with `__Host-`",
    },
}  # fmt: skip
_SAYS: Final = (
    "An audited gateway for a tri-mode language model. Every answer names its generation; nothing is answered that was not "
    "recorded. Errors of all routes but Anthropic's are `Failure`. The pages for browsers (`/approvals`, `/generations`, ...) "
    "are HTML and are not described here."
)


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1, as JSON has it."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = operation.told()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Palimpsest", "version": release_name(), "description": _SAYS, "license": {"name": "Apache-2.0"}},
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": components(people.FORMS) | dialects.COMPONENTS, "securitySchemes": _SECURITY},
    }


@cache
def encoded() -> bytes:
    """The same as bytes."""
    return msgspec.json.encode(document())
