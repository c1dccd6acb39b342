"""One route as OpenAPI describes it: values that become its JSON."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

Schema = Mapping[str, Any]
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
TEXT: Final = {"type": "string"}
EVENT: Final = {
    "type": "object",
    "description": "each event of the stream, by the fields of a server-sent event",
    "properties": {"event": TEXT, "data": TEXT, "id": TEXT, "retry": {"type": "integer"}},
    "required": ["data"],
}
"""What OpenAPI 3.1 has no word of its own for: readers take the schema of a stream as that of its events (3.2: itemSchema)."""
REF: Final = "#/components/schemas/"
Security = tuple[Mapping[str, list[str]], ...]
KEY: Final[Security] = ({"bearer": []}, {"apiKey": []})
PERSON: Final[Security] = ({"session": []},)
EITHER: Final[Security] = (*PERSON, *KEY)
METRICS: Final[Security] = ({"metricsToken": []},)
ANYBODY: Final[Security] = ({},)


def ref(name: str | type[msgspec.Struct]) -> Schema:
    """A schema by its name."""
    return {"$ref": REF + (name if isinstance(name, str) else name.__name__)}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what it means, and its body by media type."""

    means: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As OpenAPI spells it."""
        found: dict[str, Any] = {"description": self.means}
        if self.content:
            found["content"] = {media: {"schema": schema} for media, schema in self.content.items()}
        if self.headers:
            found["headers"] = {name: {"description": says, "schema": TEXT} for name, says in self.headers.items()}
        return found


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path: what it does, for whom, what it takes and what it may answer."""

    method: str
    path: str
    tag: str
    does: str
    security: Security
    answers: Mapping[str, Answer]
    parameters: Sequence[Mapping[str, Any]] = ()
    body: Schema | None = None
    optional_body: bool = False

    @property
    def name(self) -> str:
        """A name of its own for generated clients."""
        return "_".join([self.method, *self.path.replace("{", "").replace("}", "").strip("/").replace("-", "_").split("/")])

    def told(self) -> dict[str, Any]:
        """As OpenAPI spells it."""
        summary, _, more = inspect.cleandoc(self.does).partition("\n\n")
        found: dict[str, Any] = {
            "operationId": self.name,
            "tags": [self.tag],
            "summary": summary,
            "security": list(self.security),
            "parameters": [*_of_path(self.path), *self.parameters],
            "responses": {status: answer.told() for status, answer in self.answers.items()},
        }
        if more:
            found["description"] = more
        if self.body is not None:
            found["requestBody"] = {"required": not self.optional_body, "content": {JSON: {"schema": self.body}}}
        return found


def of_header(name: str, says: str, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    """A header that a client sends."""
    return {"name": name, "in": "header", "description": says, "required": required, "schema": schema}


def of_query(form: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """The parameters of a query: the fields of its class."""
    schema = components([form])[form.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": each, **_said(each)}
        for name, each in schema["properties"].items()
    ]


def components(forms: Sequence[type[msgspec.Struct]]) -> dict[str, dict[str, Any]]:
    """JSON Schemas of these classes and of those in them, by name."""
    _, found = msgspec.json.schema_components(forms, ref_template=REF + "{name}")
    return {name: _cleaned(schema) for name, schema in found.items()}


def asked(bodies: Sequence[type[msgspec.Struct]]) -> tuple[tuple[Schema, ...], dict[str, dict[str, Any]]]:
    """The schemas of what clients send, and all that they refer to, under names that no answer has."""
    refs, found = msgspec.json.schema_components(bodies, ref_template=REF + "asked.{name}")
    return tuple(refs), {f"asked.{name}": _cleaned(schema) for name, schema in found.items()}


def _cleaned(schema: dict[str, Any]) -> dict[str, Any]:
    said = schema.get("description")
    return schema if said is None else schema | {"description": inspect.cleandoc(said)}


def _said(schema: Mapping[str, Any]) -> dict[str, str]:
    return {"description": schema["description"]} if "description" in schema else {}


_KINDS: Final = {
    "generation": {"type": "string", "format": "uuid"},
    "delegation": {"type": "string", "format": "uuid"},
    "block": {"type": "integer"},
    "step": {"type": "integer"},
    "number": {"type": "integer"},
}


def _of_path(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _KINDS.get(name, TEXT)} for name in names]
