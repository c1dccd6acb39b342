"""Grammars that hold an answer of no sense to a form in which a client can act on it: the words alone are the model's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

FILE: Final = "hello.txt"
TASK: Final = f"Write a greeting into the file {FILE}."
WORDS: Final = "WORDS: /[a-z]{2,9}( [a-z]{2,9}){1,4}/"
"""A few words of lower case letters, which mean nothing to a shell."""
SAID: Final = "SAID: /[A-Z][a-z]{2,9}( [a-z]{2,9}){1,4}[.]/"


def whole_file(file: str) -> str:
    """aider's form for a whole file: its name, then its content between fences."""
    opened, closed = _text(f"{file}\n```\n"), _text("\n```\n")
    return _grammar(f"start: {opened} WORDS {closed}", WORDS)


def call_or_words(tool: str, arguments: Mapping[str, str]) -> str:
    """One call with these arguments, in which `{}` stands for words of the model's; or a sentence."""
    told = " ".join(_argument(name, value) for name, value in arguments.items())
    opened, closed = _text(f"<tool_call>\n<function={tool}>\n"), _text("</function>\n</tool_call>")
    return _grammar("start: call | SAID", f"call: {opened} {told} {closed}", WORDS, SAID)


def _argument(name: str, value: str) -> str:
    before, held, after = value.partition("{}")
    first, last = _text(f"<parameter={name}>\n{before}"), _text(f"{after}\n</parameter>\n")
    return f"{first} WORDS {last}" if held else f"{first} {last}"


def _text(text: str) -> str:
    return json.dumps(text)


def _grammar(*lines: str) -> str:
    return "\n".join(lines) + "\n"
