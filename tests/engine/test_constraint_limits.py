"""Laws of what a constraint may cost: what is honest is served however large, and the rest is refused or ended in time."""

from __future__ import annotations

from typing import Any

import pytest

from engine.constrain import SOURCE_BYTES
from engine.errors import ConstraintBroken, InvalidRequest
from engine.request import Constraint, ConstraintKind
from tests.engine.constraints import CONSTRAINER, TOKENIZER, grammar, objects, regex, schema, steps

CYCLES = "\n".join(
    [
        "start: /a{34}/ s",
        f's: {" | ".join(f"t{i} s" for i in range(100))} | "~~~~"',
        *(f't{i}: "a" | "a" t{(i + 1) % 100}' for i in range(100)),
    ]
)
"""Cheap for as long as a trial looks, then a step of it has a hundred ways to go on, each of which has a hundred more."""

CHAIN = "start: r0\n" + "\n".join(f"r{i}: r{i + 1}" for i in range(4000)) + '\nr4000: "a"'

REFUSED = {
    "not JSON": (Constraint(ConstraintKind.JSON_SCHEMA, "nope"), "not JSON"),
    "no object": (Constraint(ConstraintKind.JSON_SCHEMA, "[]"), "not a JSON object"),
    "endless number": (Constraint(ConstraintKind.JSON_SCHEMA, '{"const": ' + "9" * 5000 + "}"), "not JSON"),
    "no number": (Constraint(ConstraintKind.JSON_SCHEMA, '{"const": NaN}'), "expected value"),
    "bad type": (schema({"type": 5}), "type must be a string"),
    "unsupported keyword": (schema({"if": {}, "then": {}}), "Unimplemented keys"),
    "unknown format": (schema({"type": "string", "format": "color"}), "Unknown format"),
    "remote reference": (schema({"$ref": "http://example.com/schema.json"}), "retriev"),
    "unsatisfiable": (schema({"type": "integer", "minimum": 5, "maximum": 3}), "Unsatisfiable"),
    "endless reference": (schema({"$ref": "#"}), "dead end"),
    "grammar into a dead end": (grammar('start: "a" B\nB: /[a-c]/ & /[d-e]/'), "dead end"),
    "too many properties": (schema({"type": "object", "properties": {f"p{i}": {} for i in range(1500)}}), "max is 1250"),
    "megabyte": (regex("a" * 1_000_000), f"1000000 bytes, and at most {SOURCE_BYTES}"),
    "deep": (Constraint(ConstraintKind.JSON_SCHEMA, '{"items":' * 300 + "{}" + "}" * 300), "recursion limit"),
    "deeper": (Constraint(ConstraintKind.JSON_SCHEMA, "[" * 60_000), "nested too deeply|not JSON"),
    "surrogate": (regex("\ud800"), "surrogate"),
    "look-around": (regex("(?=a)b"), "look-around"),
    "open group": (regex("("), "regex parse error"),
    "lone backslash": (regex("a\\"), "lone backslash"),
    "source of any object": (Constraint(ConstraintKind.JSON_OBJECT, "{}"), "no source"),
    "empty grammar": (grammar(""), "no start rule"),
    "special token": (grammar("start: <think>"), "unknown special token"),
    "eos": (grammar('start: "a" <|im_end|> "b"'), "special token"),
    "token by number": (grammar("start: <[12]>"), "by number"),
    "any token": (grammar("start: <[*]>"), "by number"),
    "too much memory": (regex("a?" * 8000), "simplify"),
    "too much time": (grammar("start: A\nA: " + "&".join(f"/[^{chr(98 + i % 24)}]*a.*/" for i in range(300))), "simplify"),
    "too much stack": (grammar(CHAIN), "simplify"),
}


def test_a_constraint_that_asks_too_much_says_so() -> None:
    """Work beyond the limits ends one generation before long, in the library's words, and not as a token out of place."""
    matcher = CONSTRAINER.matcher(grammar(CYCLES))
    with pytest.raises(ConstraintBroken, match="max is 1250"):
        matcher.accept(TOKENIZER.encode("a") * 60)


def tool(number: int) -> dict[str, Any]:
    """A call of one of many tools, with some arguments that are needed and some that are not."""
    arguments = objects({f"argument_{place}": {"type": "string"} for place in range(8)}, 3)
    return objects({"name": {"const": f"tool_{number}"}, "arguments": arguments}, 1)


@pytest.mark.parametrize(
    "wanted",
    [
        {"anyOf": [tool(number) for number in range(60)]},
        {"type": "object", "properties": {f"property_{place}": {"type": "string"} for place in range(300)}},
        objects({f"property_{place}": {"type": "integer"} for place in range(600)}, 1),
        {"enum": [f"value {place}" for place in range(1000)]},
    ],
    ids=["tools", "optional", "required", "enum"],
)
def test_what_is_large_and_honest_is_served(wanted: dict[str, Any]) -> None:
    """Dozens of tools, hundreds of properties and a thousand values stay within the limits, at every step of an answer."""
    matcher = CONSTRAINER.matcher(schema(wanted))
    for _, _ in zip(steps(matcher, 5), range(60), strict=False):
        assert matcher.allowed().any()


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_held_is_refused_at_the_door(case: str) -> None:
    """A source that is malformed, unsupported or dear to compile is the caller's error, shortly said; nothing dies of it."""
    constraint, reason = REFUSED[case]
    with pytest.raises(InvalidRequest, match=f"the {constraint.kind} constraint cannot be used: .*{reason}") as caught:
        CONSTRAINER.check(constraint)
    assert len(str(caught.value)) < 400


def test_nothing_runs_that_was_not_tried() -> None:
    """Who asks for a matcher without a check is refused all the same."""
    with pytest.raises(InvalidRequest, match="simplify"):
        CONSTRAINER.matcher(grammar(CHAIN))
