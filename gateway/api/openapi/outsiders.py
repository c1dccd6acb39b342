"""Routes for those who check the log, for those who look whether anybody is here, and this description itself."""

from __future__ import annotations

from typing import Final

from gateway.api.openapi.operation import ANYBODY, JSON, KEY, METRICS, TEXT, Answer, Operation, Schema
from gateway.api.openapi.people import failures

_PARTS: Final = {"type": "object", "additionalProperties": {"enum": ["ok", "down"]}}
_READY: Final = {
    "type": "object",
    "required": ["status", "parts"],
    "properties": {"status": {"enum": ["ok", "unavailable"]}, "parts": _PARTS},
}
_PROOF: Final = {
    "type": "object",
    "required": ["generation_id", "origin", "records"],
    "properties": {
        "generation_id": {"type": "string", "format": "uuid"},
        "origin": TEXT,
        "records": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["seq", "header", "proof"],
                "properties": {
                    "seq": {"type": "integer"},
                    "header": {"type": "string", "contentEncoding": "base64"},
                    "proof": {"type": ["string", "null"], "description": "a tlog-proof; null while no checkpoint covers it"},
                },
            },
        },
    },
}
_LIVE: Final = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
_RESOURCES: Final[dict[str, Schema]] = {
    "text/plain": TEXT,
    "application/octet-stream": {"type": "string", "contentEncoding": "binary"},
    JSON: {"type": "object"},
}

OPERATIONS: Final = (
    Operation(
        "get", "/log/{tenant}/{path}", "evidence",
        "A tenant's log as C2SP tlog-tiles: `checkpoint`, `tile/...`, `tile/entries/...`.\n\n"
        "`cosigned` is the newest checkpoint that witnesses have seen, `anchor` what the log of `system` says of this one. "
        "Headers and hashes, never content. `path` may contain slashes. A key opens its own tenant's log.",
        KEY, {"200": Answer("the resource", _RESOURCES), **failures("400", "401", "404", "503")},
    ),
    Operation(
        "get", "/api/generations/{generation}/proof", "evidence",
        "For each record of a generation its header and a tlog-proof, checked offline by `python -m audit check`.",
        KEY, {"200": Answer("the proofs", {JSON: _PROOF}), **failures("401", "404", "503")},
    ),
    Operation(
        "get", "/health/live", "health", "Whether the process answers.", ANYBODY, {"200": Answer("it does", {JSON: _LIVE})},
    ),
    Operation(
        "get", "/health/ready", "health", "Whether a request could be served and recorded now.", ANYBODY,
        {"200": Answer("it could", {JSON: _READY}), "503": Answer("a part is down: ask again", {JSON: _READY})},
    ),
    Operation(
        "get", "/metrics", "health", "This process in numbers, in Prometheus' text form, where the operator set a token.",
        METRICS, {
            "200": Answer("the numbers", {"text/plain": TEXT}), "401": Answer("a wrong token"), **failures("404"),
        },
    ),
    *(
        Operation(
            method, "/api/hello", "health", "A sign of life for clients that look for one.", ANYBODY,
            {"200": Answer("somebody is here")},
        )
        for method in ("get", "head")
    ),
    Operation(
        "get", "/api/openapi.json", "health", "This description.", ANYBODY, {"200": Answer("it", {JSON: {"type": "object"}})},
    ),
)  # fmt: skip
