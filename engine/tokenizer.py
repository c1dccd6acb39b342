"""Text to token ids and back.

Promise: special ids come only from a chat template, never from text, because the backend that encodes
text holds no special token at all: a literal `<|im_end|>` or mask token in a prompt is plain characters.
Decoding is exact: `decode_bytes` gives the very bytes of every ordinary id, the written form of the marks of thinking and of
calls, and nothing for any other special id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer as Backend

from engine.config import CheckpointError, read_json
from engine.errors import InvalidRequest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the library's threads would compete with the engine's
TURN_START: Final = "<|im_start|>"
TURN_END: Final = "<|im_end|>"
THINK_START: Final = "<think>"
THINK_END: Final = "</think>"
CALL_START: Final = "<tool_call>"
CALL_END: Final = "</tool_call>"
MASK: Final = "<SPECIAL_100>"
SHOWN: Final = (THINK_START, THINK_END, CALL_START, CALL_END)
"""Tokens that give an answer its parts: no text is ever read as one of them, but an answer shows them as they are written."""


class Tokenizer:
    """A byte-level BPE vocabulary; immutable, safe to share between threads.

    `special` holds the ids that no text is read as, `reserved` the strings of those and of all other added tokens, `calls` the
    ids of the marks of calls; `size` is one more than the largest id, `longest` the most bytes of an id.
    """

    __slots__ = ("_backend", "_bytes", "_ids", "calls", "eos_id", "longest", "mask_id", "reserved", "size", "special")

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Build from a parsed `tokenizer.json`. Raises CheckpointError when it is not of this family."""
        added = {str(entry["content"]): entry for entry in document.get("added_tokens", ())}
        vocabulary = {str(text): int(rank) for text, rank in document["model"]["vocab"].items()}
        self._ids: dict[str, int] = vocabulary | {text: int(entry["id"]) for text, entry in added.items()}
        self.special: frozenset[int] = frozenset(int(e["id"]) for e in added.values() if e.get("special"))
        self.reserved: frozenset[str] = frozenset(text for text in added if len(text) > 1)
        self.calls: frozenset[int] = frozenset(self._ids[mark] for mark in (CALL_START, CALL_END) if mark in added)
        self.size: int = 1 + max(self._ids.values())
        self.eos_id: int = self.id_of(TURN_END)
        self.mask_id: int = self.id_of(MASK)
        for needed in (TURN_START, THINK_START, THINK_END):
            self.id_of(needed)
        self._bytes: dict[int, bytes] = _byte_table(vocabulary, added)
        self.longest: int = max(map(len, self._bytes.values()))
        self._backend: Backend = _plain_backend(document, frozenset(added))

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read `folder/tokenizer.json`. Raises CheckpointError when it is absent, malformed or foreign."""
        path = folder / "tokenizer.json"
        document = read_json(path)
        try:
            return cls(document)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{path} is not a fast byte-level BPE tokenizer file") from error

    def id_of(self, token: str) -> int:
        """The id of a token by its exact string. Raises CheckpointError when the vocabulary lacks it."""
        if token not in self._ids:
            raise CheckpointError(f"the tokenizer has no token {token!r}: it is not of the expected family")
        return self._ids[token]

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text, without begin or end markers; never contains a special id.

        Raises InvalidRequest for text that is not Unicode (an unpaired surrogate, which JSON can carry).
        """
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The same of several, each by itself. One call, because others get the interpreter in each and give it back late."""
        try:
            "".join(texts).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidRequest("the text holds an unpaired surrogate: send valid Unicode") from error
        # Offsets, which nobody asks for here, would take most of the time, and the interpreter with it.
        return [list(found.ids) for found in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Exact UTF-8 bytes of the ids; special ids that are not shown and ids beyond the vocabulary give nothing."""
        known = self._bytes
        return b"".join([known.get(token, b"") for token in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; bytes that are not valid UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")


def _plain_backend(document: Mapping[str, Any], special: frozenset[str]) -> Backend:
    """The same BPE with every added token removed, from the matcher and from the vocabulary.

    The library's own switch (`encode_special_tokens`) still matches added tokens not flagged special, and
    `ignore_merges` could pick a whole reserved string; without the entries neither can happen.
    """
    model = dict(document["model"])
    model["vocab"] = {text: rank for text, rank in model["vocab"].items() if text not in special}
    model["unk_token"] = None
    plain = {**document, "added_tokens": [], "post_processor": None, "model": model}
    plain |= {"truncation": None, "padding": None}
    try:
        return Backend.from_str(json.dumps(plain))
    except Exception as error:
        # The library raises a bare Exception for every malformed document.
        raise CheckpointError(f"the tokenizer file cannot be used: {error}") from error


def _byte_table(vocabulary: Mapping[str, int], added: Mapping[str, Mapping[str, Any]]) -> dict[int, bytes]:
    """Bytes of every id that stands for text; added tokens that are shown or not flagged special stand for themselves."""
    alphabet = _byte_alphabet()
    table: dict[int, bytes] = {}
    for text, rank in vocabulary.items():
        if text not in added:
            table[rank] = bytes(alphabet[character] for character in text)
    for text, entry in added.items():
        if text in SHOWN or not entry.get("special"):
            table[int(entry["id"])] = text.encode("utf-8")
    return table


def _byte_alphabet() -> dict[str, int]:
    """Byte-level BPE writes a byte as one printable character: itself if printable, else from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in frozenset(printable)]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}
