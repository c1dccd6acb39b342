"""A checkpoint's own chat template: from the turns of a conversation, and tools, to the ids of a prompt.

Promise: special ids come only from the template, never from what anybody said. Every told string, keys of JSON included, is
broken up by a character that the conversation does not hold wherever it could be read as a reserved token, alone or together
with what the template puts beside it; the character goes again once the template's own marks have been found.

A template comes with weights from elsewhere, so it runs in jinja's sandbox and can only make text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from os.path import commonprefix
from pathlib import Path
from typing import Any, Final, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.config import CheckpointError, read_text
from engine.errors import InvalidRequest
from engine.tokenizer import Tokenizer

PRIVATE: Final = range(0xE000, 0xF900)
"""Characters without a meaning of their own; one that the conversation does not hold breaks up what looks like a token."""

ROLES: Final = {role: role for role in ("system", "user", "assistant", "tool")}


class CallForm(StrEnum):
    """How the checkpoint writes a call of a tool."""

    XML = "xml"
    JSON = "json"


class ChatTemplate:
    """One checkpoint's template; immutable, safe to share between threads.

    `call_form` is how calls are written, None when the template knows no tools; `can_think` is whether a prompt may leave the
    thinking to the model.
    """

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        """Raises CheckpointError when the source is no template."""
        self._tokenizer = tokenizer
        form = CallForm.XML if "<function=" in source else CallForm.JSON
        self.call_form = form if re.search(r"\btools\b", source) else None
        self.can_think = "enable_thinking" in source
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _json
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError, SyntaxError) as error:
            raise CheckpointError(f"the chat template cannot be used: {error}") from error
        self._guard = Guard(tokenizer.reserved)

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer) -> ChatTemplate | None:
        """The template of a checkpoint folder; None for a base checkpoint, which has none. Raises CheckpointError."""
        path, settings = folder / "chat_template.jinja", folder / "tokenizer_config.json"
        try:
            if path.exists():
                return cls(read_text(path), tokenizer)
            source = json.loads(read_text(settings)).get("chat_template") if settings.exists() else None
        except (ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"the chat template of {folder} cannot be read: download it again") from error
        return cls(source, tokenizer) if isinstance(source, str) else None

    def render(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), think: bool = False
    ) -> list[int]:
        """Ids of the prompt, ending where the assistant's answer begins.

        `turns` and `tools` are as clients send them to a chat endpoint, with the arguments of calls as objects and one of
        `ROLES` in each turn. Raises InvalidRequest for what is not Unicode, nested too deeply, or turned down by the template.
        """
        with _refusing():
            mark = _unused((turns, tools))
            text = self._printed(turns, tools, mark, add_generation_prompt=True, enable_thinking=think)
        return self._ids(text, mark)

    def answered(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[list[int], list[int]]:
        """Ids of the prompt that `render` gives for all turns but the last, and of the last, the assistant's, to its end mark.

        Raises InvalidRequest also for a template that prints a past answer in another way than it asks for one.
        """
        with _refusing():
            mark = _unused((turns, tools))
            asked = self._printed(turns[:-1], tools, mark, add_generation_prompt=True, enable_thinking=False)
            whole = self._printed(turns, tools, mark, add_generation_prompt=False, enable_thinking=False)
        said = self._ids(whole.removeprefix(asked), mark)
        if not whole.startswith(asked) or self._tokenizer.eos_id not in said:
            raise InvalidRequest("the chat template prints a past answer in another way than it asks for one")
        return self._ids(asked, mark), said[: said.index(self._tokenizer.eos_id) + 1]

    def _printed(self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], mark: str, **wish: bool) -> str:
        """The template's text, with `mark` wherever told text could be read as a token."""
        told = [self._guard.told(turn, mark) | {"role": ROLES[turn["role"]]} for turn in turns]
        return self._template.render(messages=told, tools=self._guard.told(tools, mark) or None, **wish)

    def _ids(self, text: str, mark: str) -> list[int]:
        """Neighbouring texts are encoded as one, as they stand in the printed template."""
        pieces = self._guard.pattern.split(text)
        ids, *told = self._tokenizer.encode_all([piece.replace(mark, "") for piece in pieces[::2]])
        for token, own in zip(pieces[1::2], told, strict=True):
            ids += (self._tokenizer.id_of(token), *own)
        return ids


@contextmanager
def _refusing() -> Iterator[None]:
    """What a template does not take is an InvalidRequest that says why."""
    try:
        yield
    except RecursionError as error:
        raise InvalidRequest("the conversation is nested too deeply") from error
    except (TemplateError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InvalidRequest(f"the chat template does not take this conversation: {str(error)[:200]}") from error


class Guard:
    """Keeps told text from being read as one of `tokens`, whatever stands beside it.

    `pattern` is any token: `split` gives texts and tokens in turn.
    """

    def __init__(self, tokens: frozenset[str]) -> None:
        self.pattern = re.compile(f"({either(tokens)})")
        # The first character of any token, overlapping ones too.
        self._within = re.compile(f"(?={either(tokens)})(.)", re.DOTALL)
        self._reach = max(map(len, tokens))
        self._heads = {token[:size] for token in tokens for size in range(1, len(token))}
        self._tails = {token[size:] for token in tokens for size in range(1, len(token))}
        self._inner = {tail[:size] for tail in self._tails for size in range(1, len(tail))}

    def told(self, value: Any, mark: str) -> Any:
        """The value with `mark` in every string that could be, or become, part of a token."""
        if isinstance(value, str):
            return self._text(value, mark)
        if isinstance(value, Mapping):
            return {self._text(key, mark): self.told(inner, mark) for key, inner in value.items()}
        return [self.told(inner, mark) for inner in value] if isinstance(value, list | tuple) else value

    def _text(self, text: str, mark: str) -> str:
        reach = self._reach
        before = mark if text in self._inner or any(text[:size] in self._tails for size in range(1, reach)) else ""
        after = mark if text in self._inner or any(text[-size:] in self._heads for size in range(1, reach)) else ""
        return f"{before}{self._within.sub(lambda found: found[1] + mark, text)}{after}"


def either(words: Iterable[str]) -> str:
    """A pattern of any of the words, the longest that stands there.

    What words have in common stands in it once, so that a character is compared with the few that can come next and not with
    every word: a family reserves a thousand tokens that begin alike.
    """
    begun: dict[str, list[str]] = {}
    for word in sorted(words):
        begun.setdefault(word[:1], []).append(word)
    ends = begun.pop("", None)
    branches = [(commonprefix(same), same) for same in begun.values()]  # noqa: RUF071 - by characters, as words are
    told = "|".join(re.escape(head) + either(word[len(head) :] for word in same) for head, same in branches)
    return f"(?:{told}){'?' if ends else ''}" if told else ""


def _unused(told: object) -> str:
    """A private character that stands nowhere in what is told. Raises InvalidRequest when all of them do."""
    held = set(json.dumps(told, ensure_ascii=False))
    for code in PRIVATE:
        if chr(code) not in held:
            return chr(code)
    raise InvalidRequest("the conversation holds every private-use character: leave one out")


def _json(value: Any, indent: int | None = None) -> str:
    """As the family's templates expect: no escapes of Unicode, no HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
