"""Constraints over the tiny tokenizer, and walks along what they allow."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.constrain import Constrainer, Matcher
from engine.request import Constraint, ConstraintKind
from engine.tokenizer import Tokenizer
from tests.engine.small import TINY

TOKENIZER = Tokenizer.load(TINY)
EOS = TOKENIZER.eos_id
VOCAB = 1100
"""Wider than the tokenizer's 1024 ids, as the logits of a padded checkpoint are, and no multiple of a mask's word."""
CONSTRAINER = Constrainer(TOKENIZER, VOCAB, EOS)
MOST = 3000


def schema(value: dict[str, Any]) -> Constraint:
    """The constraint to a JSON schema."""
    return Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(value))


def regex(source: str) -> Constraint:
    """The constraint to a regex."""
    return Constraint(ConstraintKind.REGEX, source)


def grammar(source: str) -> Constraint:
    """The constraint to a Lark grammar."""
    return Constraint(ConstraintKind.GRAMMAR, source)


def pick(matcher: Matcher, preference: random.Random) -> int:
    """An allowed id, at random."""
    return int(preference.choice(np.flatnonzero(matcher.allowed())))


def steps(matcher: Matcher, seed: int) -> Iterator[int]:
    """Random allowed ids, accepted one by one, up to and with eos."""
    preference = random.Random(seed)
    token = -1
    while token != EOS:
        token = pick(matcher, preference)
        matcher.accept([token])
        yield token


def objects(fields: dict[str, Any], needed: int) -> dict[str, Any]:
    """An object schema that requires every second or third property, or all."""
    required = list(fields)[::needed]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
