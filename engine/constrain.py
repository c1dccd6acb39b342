"""What an answer may be: a constraint becomes, token by token, the set of ids that may be picked next.

llguidance (MIT) keeps a parser per generation and tells which tokens can extend a text into one that the constraint accepts. It
is given the exact bytes of every ordinary id and the written form of the marks of calls; other special ids and the mask have
none, so they can match nothing. It forces no tokenization: an id is allowed if and only if its bytes fit.

JSON may be compact, have one space, or one line break and up to 32 blanks, where JSON permits blanks: enough for every usual
layout, too little to fill an answer with blanks. Properties come in the order of the schema; keywords that cannot be held
(`not`, `if`, `uniqueItems`, ...) are refused and never ignored. Regexes match the whole answer.

A source is hostile. The library's limits bound the work of a step, but not that of compiling: a few hundred bytes can occupy
it for a minute or overflow its stack, which no handler survives. So a constraint is compiled first in a process of its own that
may die of it, and here only afterwards.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, regex_to_lark
from numpy.typing import NDArray

from engine.errors import ConstraintBroken, InvalidRequest
from engine.request import Constraint, ConstraintKind
from engine.tokenizer import MASK, THINK_END, THINK_START, TURN_END, TURN_START, Tokenizer

SOURCE_BYTES: Final = 1 << 16
"""Longest source of a constraint, in UTF-8."""

LIMITS: Final[dict[str, Any]] = {
    "max_lexer_states": 50_000,  # a lexer has about 50 MB
    "max_grammar_size": 100_000,
    "max_items_in_row": 1_250,  # an object of 300 optional properties needs 1,207
    "step_max_items": 10_000,
    "verbose_errors": False,
}
"""A step of a schema that people wrote takes a millisecond or less. Measured with 30,000 tokens, a grammar made to take long
gets some 20 ms a step and half a second of the one that ends it; by the library's own limits it gets seconds."""

COMPILED, TRIED = 32, 256
"""How many constraints stay compiled, and of how many it is remembered that they can be."""

TRIAL_SECONDS: Final = 20.0
"""Wall-clock end of a trial; the processor time it may use is far less, so that only a stuck machine gets here."""

# The stack is smaller than any that the engine's threads have: what fits here fits there. The first steps of a text, here of
# single bytes, find out most constraints whose steps would cost too much.
TRIAL: Final = """\
import contextlib, json, resource, sys, threading
job = json.load(sys.stdin)
sys.path[:] = job["path"]
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
for limit, bound in ((resource.RLIMIT_CPU, 2), (resource.RLIMIT_AS, 192 << 20), (resource.RLIMIT_CORE, 0)):
    with contextlib.suppress(OSError, ValueError):  # not every system knows every limit
        resource.setrlimit(limit, (bound, bound))
def attempt():
    matcher = LLMatcher(LLTokenizer("byte"), job["grammar"], log_level=0, limits=LLParserLimits(**job["limits"]))
    for _ in range(32):
        fitting = int.from_bytes(matcher.compute_bitmask(), "little") % (1 << 256)
        if not fitting or not matcher.try_consume_tokens([fitting.bit_length() - 1]):
            break
    print(matcher.get_error())
threading.stack_size(1 << 20)
thread = threading.Thread(target=attempt)
thread.start()
thread.join()
"""

NEVER: Final = (MASK, THINK_END, THINK_START, TURN_END, TURN_START)
"""Tokens without bytes here, whatever the vocabulary says of them."""

JSON_STYLE: Final = {"whitespace_pattern": r" |\n[ \t]{0,32}"}
OPTIONS: Final = '\n%llguidance {"no_forcing": true}\n'

TOKEN_REFERENCE: Final = re.compile(r"<\[[\d*^][\d,^-]*\]>")
CONTEXT: Final = re.compile(r"\n +\d+ \||<backtrace>|<non-verbose")

Bools = NDArray[np.bool_]


class Constrainer:
    """Compiles constraints for one model's vocabulary; any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_id: int) -> None:
        """`vocab_size` is the width of the model's logits; ids that the tokenizer does not know are never allowed.

        `eos_id` is what the model ends its answers with: of a base checkpoint not the mark that ends a turn.
        """
        barred = (tokenizer.special - tokenizer.calls).union((eos_id, *map(tokenizer.id_of, NEVER)))
        tokens = [b"" if token in barred else tokenizer.decode_bytes([token]) for token in range(vocab_size)]
        # The library marks token references by this byte, which no UTF-8 text holds.
        tokens = [b"" if b"\xff" in token else token for token in tokens]
        self._text, self._eos = np.array([bool(token) for token in tokens]), eos_id
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Source(tokenizer, tokens, eos_id)))
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many constraints are compiled now."""
        return len(self._compiled)

    def check(self, constraint: Constraint) -> None:
        """Raises InvalidRequest when the constraint cannot be held; the first time this may take a second."""
        self._ready(constraint)

    def matcher(self, constraint: Constraint) -> Matcher:
        """The constraint at the start of an answer; quick after `check`. Raises InvalidRequest as that does."""
        compiled = self._ready(constraint)
        return Matcher(compiled, self._text, self._eos, lambda: self._forget(constraint, compiled))

    def _ready(self, constraint: Constraint) -> LLMatcher:
        """The constraint, compiled now or before; the one that was not asked for longest is forgotten."""
        with self._lock:
            if constraint in self._compiled:
                self._compiled.move_to_end(constraint)
                return self._compiled[constraint]
        compiled = self._compile(constraint)
        with self._lock:
            self._compiled[constraint] = compiled
            if len(self._compiled) > COMPILED:
                self._compiled.popitem(last=False)
        return compiled

    def _forget(self, constraint: Constraint, worn: LLMatcher) -> None:
        """Copies of what is worn out are made no more; another that took its place stays."""
        with self._lock:
            if self._compiled.get(constraint) is worn:
                del self._compiled[constraint]

    def _compile(self, constraint: Constraint) -> LLMatcher:
        _try(constraint)
        matcher = LLMatcher(self._tokenizer, _grammar(constraint), log_level=0, limits=LLParserLimits(**LIMITS))
        if matcher.is_error():
            raise _refusal(constraint, matcher.get_error())
        return matcher


class Matcher:
    """A constraint and the output so far, of one generation and one thread."""

    __slots__ = ("_compiled", "_ended", "_eos", "_forget", "_output", "_state", "_text")

    def __init__(self, compiled: LLMatcher, text: Bools, eos: int, forget: Callable[[], object]) -> None:
        """`text` [V] says which ids stand for text, `eos` ends an answer.

        `forget` drops the compiled constraint: copies share a lexer, and a broken one may be worn out.
        """
        self._compiled, self._text, self._eos, self._forget = compiled, text, eos, forget
        self._state = compiled.deep_copy()
        self._output: list[int] = []
        self._ended = False

    def allowed(self) -> Bools:
        """Which ids may be picked next, bool [V]; eos is exactly when the answer may end, and alone once it has ended.

        Raises ConstraintBroken when none may: the grammar ran into a dead end, or needs too much work.
        """
        row = self._row()
        if not row.any():
            raise self._broken(self._state.get_error() or "no text fits")
        return row

    def allowed_along(self, draft: Sequence[int]) -> Bools:
        """What may follow the output and each leading part of `draft`, bool [1 + len(draft), V].

        Behind the first illegal id all is allowed: no pick equals that id, so those rows are never reached. The state does
        not change. Raises as `allowed` does.
        """
        rows = np.ones((1 + len(draft), len(self._text)), dtype=np.bool_)
        rows[0] = self.allowed()
        ended, steps = self._ended, 0
        for place, token in enumerate(draft):
            if not self._consume(token):
                break
            steps += not self._ended
            rows[place + 1] = self._row()
        self._ended = ended
        self._rewind(steps)
        return rows

    def accept(self, tokens: Sequence[int]) -> None:
        """`tokens` are output now. Raises ConstraintBroken when one is not allowed where it stands."""
        for token in tokens:
            if not self._consume(token):
                self.allowed()  # raises where nothing fits, which says more
                raise self._broken(f"id {token} after {len(self._output)} tokens")
            if not self._ended:
                self._output.append(token)

    def _row(self) -> Bools:
        """The ids allowed now; none in a dead end."""
        if self._ended:
            row = np.zeros_like(self._text)
        else:
            bits = np.frombuffer(self._state.compute_bitmask(), dtype=np.uint8)
            row = np.unpackbits(bits, count=len(self._text), bitorder="little").view(np.bool_) & self._text
        row[self._eos] = self._may_end()
        return row

    def _may_end(self) -> bool:
        return self._ended or self._state.is_accepting()

    def _consume(self, token: int) -> bool:
        """Go on by `token` if it is allowed."""
        if token == self._eos:
            self._ended = self._may_end()
            return self._ended
        if self._ended or not 0 <= token < len(self._text) or not self._text[token]:
            return False
        return self._state.try_consume_tokens([token]) == 1

    def _rewind(self, steps: int) -> None:
        """Take the last `steps` tokens of text back; from a draft's dead end the only way back is from the start."""
        if not self._state.rollback(steps):
            self._state = self._compiled.deep_copy()
            self._state.try_consume_tokens(self._output)

    def _broken(self, reason: str) -> ConstraintBroken:
        self._forget()
        return ConstraintBroken(f"the answer cannot go on within its constraint: {_brief(reason)}")


class _Source:
    """The vocabulary in the shape that the library reads. It tokenizes text only to force it, which `OPTIONS` rules out."""

    bos_token_id = None
    special_token_ids: tuple[int, ...] = ()

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], eos_id: int) -> None:
        self.tokens, self.eos_token_id = tokens, eos_id
        self._encode = tokenizer.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


def _grammar(constraint: Constraint) -> str:
    """The constraint as the library's dialect of Lark. Raises InvalidRequest for what is wrong at first sight."""
    source = constraint.source
    match constraint.kind:
        case ConstraintKind.JSON_OBJECT:
            if source:
                raise _refusal(constraint, "it takes no source: leave it empty or send a json_schema")
            return f"start: %json {_styled({'type': 'object'})}{OPTIONS}"
        case ConstraintKind.JSON_SCHEMA:
            return f"start: %json {_schema(constraint)}{OPTIONS}"
        case ConstraintKind.REGEX:
            if (len(source) - len(source.rstrip("\\"))) % 2:
                raise _refusal(constraint, "it ends in a lone backslash")
            return f"start: /{regex_to_lark(source)}/{OPTIONS}"
        case ConstraintKind.GRAMMAR:
            if TOKEN_REFERENCE.search(source):
                raise _refusal(constraint, "it refers to tokens by number: describe text instead")
            return source + OPTIONS


def _schema(constraint: Constraint) -> str:
    try:
        schema = json.loads(constraint.source)
        styled = _styled(schema) if isinstance(schema, dict) else ""
    except RecursionError as error:
        raise _refusal(constraint, "it is nested too deeply") from error
    except ValueError as error:
        raise _refusal(constraint, f"it is not JSON ({error})") from error
    if not styled:
        raise _refusal(constraint, "it is not a JSON object")
    return styled


def _styled(schema: dict[str, Any]) -> str:
    """`x-guidance` is the library's own key for options; the caller's, if any, means as little as any unknown key."""
    return json.dumps({**schema, "x-guidance": JSON_STYLE})


_TRIALS = threading.Lock()
"""One trial at a time, so that a flood of bad constraints takes one processor and not the machine."""


@lru_cache(TRIED)
def _try(constraint: Constraint) -> None:
    """Compile the constraint in a process of its own. Raises InvalidRequest when that fails or costs too much."""
    try:
        size = len(constraint.source.encode())
    except UnicodeEncodeError as error:
        raise _refusal(constraint, "it holds an unpaired surrogate: send valid Unicode") from error
    if size > SOURCE_BYTES:
        raise _refusal(constraint, f"it has {size} bytes, and at most {SOURCE_BYTES} are allowed")
    job = json.dumps({"path": sys.path, "limits": LIMITS, "grammar": _grammar(constraint)})
    try:
        with _TRIALS:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", TRIAL],
                input=job,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                env={},
                timeout=TRIAL_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise _refusal(constraint, "it took too long to compile: try again, or simplify it") from error
    if done.returncode:
        raise _refusal(constraint, "it takes too much time, memory or nesting to compile: simplify it")
    if done.stdout.strip():
        raise _refusal(constraint, done.stdout)


def _refusal(constraint: Constraint, reason: str) -> InvalidRequest:
    return InvalidRequest(f"the {constraint.kind} constraint cannot be used: {_brief(reason)}")


def _brief(reason: str) -> str:
    """An error of the library without its excerpts and traces, on one line, and its code for a dead end in words."""
    line = " ".join(CONTEXT.split(reason, maxsplit=1)[0].split())[:300]
    return line.replace("NoExtensionBias", "nothing fits any more, it is a dead end")
