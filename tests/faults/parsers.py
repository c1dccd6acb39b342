"""Every parser that reads bytes of strangers: genuine inputs, the errors it may raise, and the law for what it accepts.

What a parser accepts has one spelling, so that writing it again gives the same bytes; what a verifier accepts was signed.
`read` raises AssertionError when that law is broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from audit import bundle, cbor
from audit.anchor import check_anchor, read_anchor
from audit.errors import AuditError
from audit.header import decode_header
from audit.note import (
    Checkpoint,
    decode_base64,
    decode_vkey,
    encode_base64,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    sign_checkpoint,
    split_note,
    tree_of,
)
from audit.proof import check_proof, make_proof, parse_proof
from audit.records import BLOCK_SCHEMA, SCHEMA, BlockTrace, Body, Kind, decode_body, encode_body, kind_of, schema_of
from audit.tiles import EntryBundle, Tile, entries_of, entry_bundle, parse_path
from audit.witness import read_submission, write_submission
from gateway.dialects import openai_chat
from gateway.dialects.request import Conversation
from gateway.errors import BadRequest
from policies import BASELINE, PolicyError, load
from tests.audit.anchor_samples import Checkpoints
from tests.audit.outside_samples import KEY, LATTICE, LATTICE_VKEY, ORIGIN, VKEY, SampleLog, Shelf, signed
from tests.audit.samples import BLOCK, SAMPLES, SURE, in_schema, small_log
from tests.audit.samples import ORIGIN as LOGGED
from tests.audit.witness_samples import body_of

T = TypeVar("T")
HEAD = 'schema = "palimpsest.policy/1"\ntenant = "acme"\n'
STRICT = HEAD + '[modes]\nallowed = ["ar", "linear_spec"]\ndefault = "linear_spec"\n'
DEEP = 20_000
"""Levels of nesting that no genuine input has, and digits of a number."""


@dataclass(frozen=True, slots=True)
class Parser:
    """One parser. `read` accepts, raises one of `refusals`, or breaks the law."""

    name: str
    genuine: tuple[bytes, ...]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (AuditError,)
    hostile: tuple[bytes, ...] = ()
    """Inputs that must be refused, whatever a mutator makes of the others."""


def _text(data: bytes) -> str:
    """Bytes as the text that a careless caller would hand on, lone surrogates included."""
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _one_spelling(parse: Callable[[bytes], T], write: Callable[[T], bytes]) -> Callable[[bytes], object]:
    def read(data: bytes) -> None:
        assert write(parse(data)) == data, "accepted in a spelling that is not its own"

    return read


LOG = SampleLog(21)
NOTES = tuple(signed(LOG.leaves[:size]) for size in (1, 7, 21))
TREES = tuple(parse_checkpoint(split_note(note).text) for note in NOTES)
BOTH = sign_checkpoint(TREES[-1], KEY, LATTICE)
PROOFS = tuple(make_proof(Shelf(LOG.leaves), index, NOTES[-1]) for index in (0, 13, 20))


def cbor_parser() -> Parser:
    """Any value in deterministic form."""
    genuine = (*map(encode_body, SAMPLES.values()), *LOG.raw[:2])
    deep = (b"\x81" * DEEP, b"\xa1\x00" * DEEP, b"\xd8\x40" * DEEP, b"\x9b" + b"\xff" * 8, b"\x5b" + b"\xff" * 8)
    return Parser("cbor", genuine, _one_spelling(cbor.decode, cbor.encode), hostile=deep)


def header_parser() -> Parser:
    """The Merkle leaf."""
    return Parser("header", tuple(LOG.raw), _one_spelling(decode_header, lambda header: header.encode()))


def body_parser() -> Parser:
    """The plaintext of every kind of record, behind two bytes that name kind and schema; blocks in their older schemas too."""

    def read(data: bytes) -> None:
        kind, schema = (*data[:2], 0, 0)[:2]
        body = decode_body(kind, schema, data[2:])
        again = encode_body(body) if schema == schema_of(kind) else in_schema(schema, _block(body))
        assert bytes([kind_of(body), schema]) + again == data, "accepted in a spelling that is not its own"

    newest = [bytes([kind, schema_of(kind)]) + encode_body(body) for kind, body in SAMPLES.items()]
    newest.append(bytes([Kind.BLOCK, BLOCK_SCHEMA]) + encode_body(SURE))
    older = (bytes([Kind.BLOCK, schema]) + in_schema(schema, BLOCK) for schema in range(SCHEMA, BLOCK_SCHEMA))
    return Parser("body", (*newest, *older), read)


def _block(body: Body) -> BlockTrace:
    assert isinstance(body, BlockTrace), "only blocks have had another schema"
    return body


def note_parser() -> Parser:
    """A note taken apart."""
    genuine = tuple(_bytes(note) for note in (*NOTES, BOTH))
    return Parser("note", genuine, _one_spelling(lambda data: split_note(_text(data)), lambda note: _bytes(note.raw())))


def signed_note_parser() -> Parser:
    """A note opened under given keys: only a text that was signed comes out."""
    texts = {split_note(note).text for note in NOTES}

    def read(data: bytes) -> None:
        assert open_note(_text(data), [VKEY, LATTICE_VKEY]) in texts, "opened a text that nobody signed"

    return Parser("signed-note", tuple(_bytes(note) for note in (*NOTES, BOTH)), read)


def checkpoint_parser() -> Parser:
    """A checkpoint opened under given keys and origin: only a tree that was signed comes out."""

    def read(data: bytes) -> None:
        assert open_checkpoint(_text(data), [VKEY, LATTICE_VKEY], ORIGIN) in TREES, "opened a tree that nobody signed"

    other = sign_checkpoint(Checkpoint("elsewhere.test/acme", 7, bytes(32)), KEY)
    return Parser("checkpoint", tuple(_bytes(note) for note in (*NOTES, BOTH)), read, hostile=(_bytes(other),))


def vkey_parser() -> Parser:
    """A verifier key: another key, or another name for a key, does not match its own hash."""

    def read(data: bytes) -> None:
        assert decode_vkey(_text(data)) in (VKEY, LATTICE_VKEY), "took a key that was not given"

    return Parser("vkey", (str(VKEY).encode(), str(LATTICE_VKEY).encode()), read)


def proof_parser() -> Parser:
    """A proof taken apart."""
    spelled = _one_spelling(lambda data: parse_proof(_text(data)), lambda proof: _bytes(proof.text()))
    return Parser("proof", tuple(map(_bytes, PROOFS)), spelled)


def checked_proof_parser() -> Parser:
    """A header, on a line in base64, and its proof: only a record of the log is ever proven."""
    records = dict(enumerate(LOG.raw))

    def read(data: bytes) -> None:
        head, _, proof = _text(data).partition("\n")
        raw = decode_base64(head, "the header")
        proven = check_proof(proof, raw, [VKEY], ORIGIN)
        assert records.get(proven.header.seq) == raw and proven.checkpoint in TREES, "proved what is not in the log"

    indices = (parse_proof(proof).index for proof in PROOFS)
    genuine = tuple(f"{encode_base64(LOG.raw[at])}\n{proof}".encode() for at, proof in zip(indices, PROOFS, strict=True))
    return Parser("checked-proof", genuine, read)


def tile_path_parser() -> Parser:
    """The path of a tile or of an entry bundle."""
    tiles = (Tile(0, 0, 5), Tile(3, 1_234_067), Tile(63, (1 << 55) - 1, 255), EntryBundle(0), EntryBundle(999_999, 1))
    spelled = _one_spelling(lambda data: parse_path(_text(data)), lambda tile: tile.path.encode())
    return Parser("tile-path", tuple(tile.path.encode() for tile in tiles), spelled)


def entries_parser() -> Parser:
    """An entry bundle, behind a byte that says how many entries it has, less one."""

    def read(data: bytes) -> None:
        width = (data[0] if data else 0) + 1
        assert entry_bundle(entries_of(data[1:], width)) == data[1:], "accepted in a spelling that is not its own"

    genuine = tuple(bytes([width - 1]) + entry_bundle(LOG.raw[:width]) for width in (1, 3, 21))
    return Parser("entries", genuine, read)


def submission_parser() -> Parser:
    """The body of an add-checkpoint request to a witness."""
    genuine = (body_of(0, 5), body_of(3, 8), body_of(8, 40))
    return Parser("submission", genuine, _one_spelling(read_submission, write_submission))


def anchor_parser(folder: Path) -> Parser:
    """An anchor: whatever is borne out is a tree that was recorded, and the line has one spelling."""
    checkpoints, log = Checkpoints(folder / "system"), small_log(folder / "log")
    lines = tuple(checkpoints.anchor(note, LOGGED).line() for note in log.notes)
    keys, trees = [decode_vkey(text) for text in checkpoints.vkeys], [tree_of(note) for note in log.notes]

    def read(data: bytes) -> None:
        anchor = read_anchor(data)
        assert anchor.line() == data, "another spelling was accepted"
        assert check_anchor(anchor, keys, LOGGED).tree in trees, "bore out what was not recorded"

    return Parser("anchor", lines, read)


def manifest_parser(folder: Path) -> Parser:
    """The manifest of a bundle, read from its file."""
    entry: dict[str, bundle.Json] = {"bytes": 12, "lines": 1, "sha256": "00" * 32}
    whole = bundle.Manifest("acme", ORIGIN, 21, {name: dict(entry) for name in bundle.DATA_FILES}).encode()

    def read(data: bytes) -> None:
        folder.joinpath(bundle.MANIFEST).write_bytes(data)
        assert bundle.read_manifest(folder).encode() == data, "accepted in a spelling that is not its own"

    return Parser("manifest", (whole,), read, hostile=(b'{"files":' + b"[" * DEEP,))


def policy_parser(folder: Path) -> Parser:
    """A policy document: it is refused, or read alike twice."""
    path = folder / "acme.toml"
    child = HEAD + 'inherit = "baseline"\nrelease = "whole"\n[modes]\nallowed = ["ar"]\ndefault = "ar"\n'

    def read(data: bytes) -> None:
        path.write_bytes(data)
        assert load(path).digest == load(path).digest, "one document has two meanings"

    deep = f"{STRICT}x = {'[' * DEEP}".encode()
    long = f"{STRICT}x = {'9' * DEEP}".encode()
    return Parser(
        "policy", (BASELINE.read_bytes(), STRICT.encode(), child.encode()), read, (PolicyError,), hostile=(deep, long)
    )


def chat_parser() -> Parser:
    """The body of a chat request: what goes on record is verbatim, and what goes to the model is text."""
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "hé\u2028"}]}]
    full = {
        "model": "palimpsest-tiny:ar", "messages": turns, "stream": True, "stream_options": {"include_usage": True},
        "temperature": 0.5, "top_p": 0.9, "seed": -1, "max_tokens": 12, "stop": ["\n\n", "end"], "logprobs": True,
        "top_logprobs": 3, "frequency_penalty": -0.5, "n": 1, "tools": [], "metadata": {"a": "b"},
        "palimpsest": {"block_length": 8, "threshold": 0.9, "max_steps": 4, "seed_first": True, "workflow": "w"},
    }  # fmt: skip
    shaped = {"model": "m", "messages": turns, "response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}

    def read(data: bytes) -> None:
        asked = openai_chat.decode(data)
        assert asked.prompt_json.encode() in data and json.loads(asked.prompt_json), "the record is not verbatim"
        assert isinstance(asked.prompt, Conversation) and asked.prompt.turns, "a prompt has no turns"
        assert all(turn.text.encode() is not None for turn in asked.prompt.turns), "a turn is no text"
        assert asked.seed is None or 0 <= asked.seed < 1 << 64, "a seed is no seed"

    nested = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":'
    hostile = (nested + b"[" * DEEP, nested + b'{"a":' * DEEP, nested + b"9" * DEEP, b"[" * DEEP)
    genuine = tuple(json.dumps(document, ensure_ascii=False).encode() for document in (full, shaped))
    return Parser("chat", genuine, read, (BadRequest,), hostile=hostile)
