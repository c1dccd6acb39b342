"""Answers that must call, or must call exactly: a grammar of the checkpoint's own form of calls, with the tools' schemas in it.

Of a strict tool every value is held to its schema. Of any other only names, required arguments and JSON types are, so that no
schema that a client may send makes a request impossible. A string in the XML form is free text, whatever its pattern; where a
list or object may stand in its place, that of a strict tool does not begin like one: it would be read as one, held to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from engine.chat_template import CallForm
from engine.request import Constraint, ConstraintKind
from engine.tokenizer import CALL_END, CALL_START
from gateway.call_forms import FUNCTION, FUNCTION_END, PARAMETER, PARAMETER_END
from gateway.dialects.request import Calling, CallOf, Conversation, ToolSpec
from gateway.schema_types import leaves_of, types_of, values_of

TOLD_ONLY: Final = ("description", "title", "$comment", "$schema", "$id")
"""Words of a schema that hold nothing to anything."""
DEFINITIONS: Final = ("$defs", "definitions")
FREE: Final = r"value[lazy]: /(?s:.*?)\n<\/parameter>\n/"
BEGINS: Final = {"array": r"\[", "object": r"\{"}
PLAIN: Final = r"[lazy]: /\s*([^\s{}](?s:.*?))?\n<\/parameter>\n/"
ANY: Final = r"any[lazy]: /<parameter=[^>\n]{1,64}>\n(?s:.*?)\n<\/parameter>\n/"
SAID: Final = r"SAID: /(?s:.*)/ & ~/(?s:.*)<(tool_call>|function=)(?s:.*)/"
OPENED: Final = r"opened[lazy]: /(?s:.*?)<tool_call>/"


def call_grammar(prompt: Conversation, form: CallForm) -> Constraint:
    """What the answer must be by a binding choice of tools, or by tools that are strict."""
    tools = prompt.callable
    match prompt.choice:
        case CallOf(name):
            lines = ['start: "\\n"? call', f"call: {_literal(CALL_START)} called"]
            tools = tuple(tool for tool in tools if tool.name == name)
        case Calling.REQUIRED:
            lines = [f'start: "\\n"? call{_more(prompt)}', f"call: {_literal(CALL_START)} called"]
        case _:
            lines = [f"start: (opened called){'*' if prompt.parallel else '?'} SAID", SAID, OPENED]
    body = (_xml if form is CallForm.XML else _json)(tools)
    return Constraint(ConstraintKind.GRAMMAR, "\n".join([*lines, *body]) + "\n")


def _more(prompt: Conversation) -> str:
    return ' ("\\n" call)*' if prompt.parallel else ""


def _xml(tools: Sequence[ToolSpec]) -> Iterator[str]:
    yield f"called: ({_either(f'tool{place}' for place in range(len(tools)))}) {_literal(FUNCTION_END, CALL_END)}"
    yield from (FREE, ANY)
    for kinds in (["array"], ["object"], ["array", "object"]):
        yield _no(kinds) + PLAIN.format("".join(BEGINS[kind] for kind in kinds))
    for place, tool in enumerate(tools):
        properties, needed = _properties(tool), _needed(tool)
        told = [f"p{place}x{index}{'' if key in needed else '?'}" for index, key in enumerate(properties)]
        arguments = " ".join(told) if properties or tool.strict else "any*"
        yield f"tool{place}: {_literal('', f'{FUNCTION}{tool.name}>', '')} {arguments}"
        for index, (key, schema) in enumerate(properties.items()):
            yield f"p{place}x{index}: {_literal(f'{PARAMETER}{key}>', '')} {_value(tool, schema)}"


def _value(tool: ToolSpec, schema: Any) -> str:
    """The rest of an argument behind its name."""
    types, closed = types_of(schema, tool.schema), _literal("", PARAMETER_END, "")
    if "string" in types or not types:
        told = [form for leaf in leaves_of(schema, tool.schema) for form in _printed(tool, leaf)] if tool.strict else [""]
        kinds, printed = sorted(types & BEGINS.keys()), f"({_either(filter(None, told))}) {closed}"
        if all(told):
            return printed
        return f"({printed} | {_no(kinds)})" if kinds and any(told) else "value"
    held = {**_plain(schema), **_definitions(tool)} if tool.strict else {"type": sorted(types)}
    return f"%json {_document(held)} {closed}"


def _printed(tool: ToolSpec, schema: Any) -> Iterator[str]:
    """What one of a value's alternatives may print: its values, JSON of what is no string; empty for free text."""
    values, types = values_of(schema), types_of(schema, tool.schema)
    if values is not None:
        yield from (_literal(value if isinstance(value, str) else json.dumps(value)) for value in values)
        return
    if others := sorted(types - {"string"}):
        yield f"%json {_document({**_plain(schema), 'type': others, **_definitions(tool)})}"
    if not types or "string" in types:
        yield ""


def _no(kinds: Sequence[str]) -> str:
    """The rule of free text that does not begin like any of these."""
    return f"no_{'_'.join(kinds)}"


def _json(tools: Sequence[ToolSpec]) -> Iterator[str]:
    yield f"called: ({_either(f'tool{place}' for place in range(len(tools)))}) {_literal('', CALL_END)}"
    for place, tool in enumerate(tools):
        arguments = _plain({key: value for key, value in tool.schema.items() if key not in DEFINITIONS})
        told = {"name": {"const": tool.name}, "arguments": arguments if tool.strict else _loose(tool)}
        whole = {"type": "object", "properties": told, "required": list(told), "additionalProperties": False}
        yield f"tool{place}: {_literal('', '')} %json {_document(whole | (_definitions(tool) if tool.strict else {}))}"


def _loose(tool: ToolSpec) -> dict[str, Any]:
    """Names, types and what is required, of a schema that need not be held."""
    types = {key: sorted(types_of(schema, tool.schema)) for key, schema in _properties(tool).items()}
    properties = {key: {"type": names} if names else {} for key, names in types.items()}
    return {"type": "object", "properties": properties, "required": [key for key in properties if key in _needed(tool)]}


def _properties(tool: ToolSpec) -> dict[str, Any]:
    """The arguments that can be written: the XML form ends a name at a bracket or a line break."""
    told = tool.schema.get("properties")
    properties = told.items() if isinstance(told, Mapping) else ()
    return {key: schema for key, schema in properties if key and not set(key) & set("<>\n")}


def _needed(tool: ToolSpec) -> frozenset[str]:
    told = tool.schema.get("required")
    return frozenset(key for key in told if isinstance(key, str)) if isinstance(told, list) else frozenset()


def _definitions(tool: ToolSpec) -> dict[str, Any]:
    """What references of the schema point at; it stands at the top, wherever they do."""
    return {key: _plain(tool.schema[key]) for key in DEFINITIONS if key in tool.schema}


def _plain(schema: Any) -> Any:
    """The schema without what only tells people about it."""
    if isinstance(schema, Mapping):
        return {key: _plain(value) for key, value in schema.items() if not (key in TOLD_ONLY and isinstance(value, str))}
    return [_plain(value) for value in schema] if isinstance(schema, list) else schema


def _either(names: Iterable[str]) -> str:
    return " | ".join(names)


def _literal(*lines: str) -> str:
    """A text that must stand there."""
    return _document("\n".join(lines))


def _document(value: Any) -> str:
    """JSON for the grammar; what the client wrote in it must not be read as a reference to tokens."""
    return json.dumps(value).replace("<[", "\\u003c[")
