"""Laws of record bodies: fixed bytes per kind, one spelling, kinds that only grow."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from audit import cbor
from audit.acts import Erasure, commit_to
from audit.errors import InvalidRecord, MalformedData
from audit.forms import keys_of, write
from audit.records import BODIES, SCHEMA, Body, Kind, decode_body, encode_body, kind_name, kind_of, schema_of
from tests.audit.samples import BLOCK, LATER, ROUND, SAMPLES

VECTORS = Path(__file__).parent / "vectors"


def _vectors(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return loaded


def pack(body: Body) -> dict[int, cbor.Value]:
    """A body as the CBOR map that it is written as."""
    found = cbor.decode(encode_body(body))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", list(Kind))
def test_golden_bytes(kind: Kind) -> None:
    """The bytes of each kind are the published ones, in both directions."""
    schema = schema_of(kind)
    golden = bytes.fromhex(_vectors("bodies.json")[f"{int(kind)}" if schema == SCHEMA else f"{int(kind)}/{schema}"])
    assert encode_body(SAMPLES[kind]) == golden
    assert decode_body(kind, schema, golden) == SAMPLES[kind]


def test_blocks_of_the_first_schema_are_still_read() -> None:
    """The published bytes of schema 1 say the same block, and no other bytes of schema 1 do."""
    golden = bytes.fromhex(_vectors("bodies.json")["4"])
    assert decode_body(Kind.BLOCK, SCHEMA, golden) == BLOCK and write(BLOCK) == golden
    with pytest.raises(MalformedData):
        decode_body(Kind.BLOCK, schema_of(Kind.BLOCK), golden)
    with pytest.raises(MalformedData):
        decode_body(Kind.BLOCK, SCHEMA, encode_body(BLOCK))


def test_kinds_only_grow() -> None:
    """Every kind ever published still has its number and name, and every kind of today is published."""
    published = {int(number): name for number, name in _vectors("kinds.json").items()}
    assert {int(kind): kind_name(kind) for kind in Kind} == published
    assert list(published) == [*range(1, 14), *range(20, 30), *range(40, 56)]


def test_keys_only_grow() -> None:
    """Every published field of every kind still has its integer key."""
    keys = {str(int(kind)): sorted(keys_of(type(body))) for kind, body in SAMPLES.items()}
    assert keys == _vectors("keys.json")


@pytest.mark.parametrize("kind", list(LATER))
def test_golden_bytes_of_later_keys(kind: Kind) -> None:
    """Keys that a kind gained later have their published bytes too, and their absence is the value that was meant before."""
    golden = bytes.fromhex(_vectors("later.json")[str(int(kind))])
    assert encode_body(LATER[kind]) == golden
    assert decode_body(kind, SCHEMA, golden) == LATER[kind]
    gained = set(pack(LATER[kind])) - set(pack(SAMPLES[kind]))
    assert gained == set(keys_of(type(LATER[kind]))) - set(pack(SAMPLES[kind]))


@pytest.mark.parametrize("kind", list(LATER))
def test_a_default_is_told_by_absence_alone(kind: Kind) -> None:
    """A later key that states what its absence says is a second spelling, and so malformed."""
    entries = pack(SAMPLES[kind])
    for each in dataclasses.fields(SAMPLES[kind]):
        key, form = each.metadata["wire"]
        if key not in entries:
            with pytest.raises(MalformedData, match="leaving"):
                decode_body(kind, SCHEMA, cbor.encode({**entries, key: cbor.decode(form.write(each.default))}))


def test_each_body_has_one_kind() -> None:
    """Kinds and body classes map to each other one to one."""
    assert len(set(BODIES.values())) == len(BODIES) == len(Kind)
    assert all(kind_of(SAMPLES[kind]) is kind for kind in Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_missing_and_extra_keys_are_refused(kind: Kind) -> None:
    """A body without one of its keys, or with one more, is malformed."""
    entries = pack(SAMPLES[kind])
    fewer = {key: value for key, value in entries.items() if key != 1}
    wrong: tuple[cbor.Value, ...] = (fewer, {**entries, 99: 0}, {}, [])
    for other in wrong:
        with pytest.raises(MalformedData):
            decode_body(kind, schema_of(kind), cbor.encode(other))


@pytest.mark.parametrize("kind", list(Kind))
def test_mistyped_values_are_refused(kind: Kind) -> None:
    """A value of another form than its field's is malformed, whichever field it is."""
    entries = pack(SAMPLES[kind])
    for key in entries:
        with pytest.raises(MalformedData):
            decode_body(kind, schema_of(kind), cbor.encode({**entries, key: {7: 7}}))


@pytest.mark.parametrize(("kind", "schema"), [(14, 1), (30, 1), (0, 1), (1, 2), (1, 0), (13, 2)])
def test_unknown_kinds_and_schemas_are_refused(kind: int, schema: int) -> None:
    """A body of a kind or schema from the future is not guessed at."""
    with pytest.raises(MalformedData, match="newer verifier"):
        decode_body(kind, schema, b"\xa0")


def test_ids_in_the_wider_width_are_refused() -> None:
    """Small ids spelt as uint32 are a second spelling, and so malformed."""
    wide = {**pack(SAMPLES[Kind.DECODE_RUN]), 2: cbor.Typed.of(cbor.Element.UINT32, [11])}
    with pytest.raises(MalformedData, match="smaller"):
        decode_body(Kind.DECODE_RUN, SCHEMA, cbor.encode(wide))


def _wrong() -> list[tuple[Body, dict[str, Any]]]:
    opened, delivery, close = (SAMPLES[kind] for kind in (Kind.REQUEST_OPEN, Kind.DELIVERY, Kind.REQUEST_CLOSE))
    gate, ranked = SAMPLES[Kind.GATE], SAMPLES[Kind.ALTERNATIVES]
    return [
        (opened, {"weights_digest": b"short"}), (opened, {"temperature": 0}), (opened, {"seed": 2**64}),
        (opened, {"seed_first": 1}), (opened, {"instance": "x"}), (opened, {"caller": b"bytes"}),
        (delivery, {"bytes_released": -1}), (close, {"tokens": True}), (close, {"output_digest": "00" * 32}),
        (BLOCK, {"verifier_logprob": (0.1, 0.1, 0.1, 0.1)}), (BLOCK, {"agreement": (1, 0, 0, 1)}),
        (BLOCK, {"tokens": (1, 2, 3, -4)}), (BLOCK, {"tokens": (1, 2, 3, 2**32)}),
        (opened, {"top_p": 1}), (opened, {"think_budget": -1}), (opened, {"stop_ids": (-1,)}),
        (opened, {"stop_strings": (b"stop",)}), (opened, {"gated": 1}), (opened, {"constraint_kind": ""}),
        (gate, {"values": (0.5,)}), (gate, {"values": (0.5, 0.1)}), (gate, {"start": -1}),
        (ranked, {"width": 0}), (ranked, {"width": 3}), (ranked, {"logprob": (-0.25, -1.5)}),
        (ranked, {"logprob": (-0.1, -1.5, -0.5, -2.0)}),
    ]  # fmt: skip


@pytest.mark.parametrize(("body", "change"), _wrong(), ids=lambda part: None if isinstance(part, dict) else type(part).__name__)
def test_values_out_of_range_are_not_written(body: Body, change: dict[str, Any]) -> None:
    """The author of a wrong value hears it before anything is recorded."""
    with pytest.raises(InvalidRecord):
        encode_body(dataclasses.replace(body, **change))


def _wrong_acts() -> list[tuple[Kind, dict[str, Any]]]:
    return [
        (Kind.POLICY_CHANGE, {"document": "another"}), (Kind.POLICY_CHANGE, {"reason": ""}),
        (Kind.POLICY_CHANGE, {"share": 0.0}), (Kind.POLICY_CHANGE, {"share": 1.0}), (Kind.POLICY_CHANGE, {"share": 1}),
        (Kind.KEY_CHANGE, {"act": "lost"}), (Kind.KEY_CHANGE, {"key": "k" * 129}), (Kind.KEY_CHANGE, {"label": " x"}),
        (Kind.ERASURE, {"key_ids": ()}), (Kind.ERASURE, {"key_ids": ("b", "a")}), (Kind.ERASURE, {"key_ids": ("a", "a")}),
        (Kind.ERASURE, {"salt": b"short"}), (Kind.ERASURE, {"reason": "r" * 2049}),
        (Kind.HOLD_PLACED, {"requested_by": "a\0b"}), (Kind.HOLD_PLACED, {"subject": ""}),
        (Kind.RETENTION_RULE, {"days": 0}), (Kind.RETENTION_RULE, {"days": 36_526}),
        (Kind.RETIREMENT, {"first": 42}), (Kind.ACCESS, {"last": 2}), (Kind.ACCESS, {"requested_by": "\ud800"}),
        (Kind.EXPORT, {"disclosed": "some"}), (Kind.EXPORT, {"requests": 0}), (Kind.EXPORT, {"disclosed": "all"}),
        (Kind.ERASURE_REFUSED, {"holds": ()}), (Kind.TENANT_MADE, {"tenant": ""}),
        (Kind.USER_CHANGE, {"act": "renamed"}), (Kind.USER_CHANGE, {"roles": ("b", "a")}),
        (Kind.USER_CHANGE, {"groups": ("a", "a")}), (Kind.USER_CHANGE, {"act": "disabled"}),
        (Kind.USER_CHANGE, {"act": "made", "enabled": False}), (Kind.KEY_TERMS, {"expires": -1}),
        (Kind.PASSKEY_CHANGE, {"act": "moved"}), (Kind.PASSKEY_CHANGE, {"credential": b""}),
        (Kind.PASSKEY_CHANGE, {"credential": bytes(1024)}), (Kind.PASSKEY_CHANGE, {"public_key": bytes(77)}),
        (Kind.PASSKEY_CHANGE, {"requested_by": "ada"}), (Kind.PASSKEY_CHANGE, {"requested_by": "other/grace"}),
        (Kind.ANCHORED, {"origin": ""}), (Kind.ANCHORED, {"size": -1}), (Kind.ANCHORED, {"root": bytes(31)}),
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), _wrong_acts())
def test_acts_are_closed_and_small(kind: Kind, change: dict[str, Any]) -> None:
    """An act with an unknown word, an unbounded text, no range or no reason is not written."""
    with pytest.raises(InvalidRecord):
        encode_body(dataclasses.replace(SAMPLES[kind], **change))


@pytest.mark.parametrize("kind", [kind for kind in Kind if "approved_by" in {f.name for f in dataclasses.fields(BODIES[kind])}])
@pytest.mark.parametrize("second", ["ada", "Ada", " a\u0064a "])
def test_two_people_are_not_one(kind: Kind, second: str) -> None:
    """An act that needs two people is neither written nor read with one name twice, however it is spelt."""
    act = SAMPLES[kind]
    with pytest.raises(InvalidRecord, match="second person"):
        dataclasses.replace(act, approved_by=second)  # type: ignore[arg-type]
    key = next(field.metadata["wire"][0] for field in dataclasses.fields(act) if field.name == "approved_by")
    with pytest.raises(MalformedData, match=r"second person|trimmed"):
        decode_body(kind, SCHEMA, cbor.encode({**pack(act), key: second}))


def test_an_erased_subject_is_only_committed_to() -> None:
    """The name of an erased subject is in no record of its erasure, and whoever knows it can find it there."""
    erasure = SAMPLES[Kind.ERASURE]
    assert isinstance(erasure, Erasure)
    assert b"key-1" not in encode_body(erasure)
    assert commit_to("key-1", erasure.salt) == erasure.subject != commit_to("key-2", erasure.salt)


def test_planes_of_a_block_have_its_length() -> None:
    """A complete block has every plane in full; an unfinished one may lack the causal pass."""
    with pytest.raises(InvalidRecord):
        dataclasses.replace(BLOCK, verifier_logprob=())
    with pytest.raises(InvalidRecord):
        dataclasses.replace(BLOCK, emitted=5)
    unfinished = dataclasses.replace(BLOCK, complete=False, emitted=0, verifier_logprob=(), agreement=(), commit_confidence=())
    assert decode_body(Kind.BLOCK, schema_of(Kind.BLOCK), encode_body(unfinished)) == unfinished


@pytest.mark.parametrize("change", [{"think_budget": 0}, {"constraint_source": ""}, {"stop_strings": (), "stop_ids": ()}])
def test_what_a_request_does_not_ask_for_is_told_apart_from_nothing(change: dict[str, Any]) -> None:
    """No thinking at all is not the absence of a budget, and a constraint may have a language without a source."""
    opened = dataclasses.replace(SAMPLES[Kind.REQUEST_OPEN], **change)
    assert encode_body(opened) != encode_body(SAMPLES[Kind.REQUEST_OPEN])
    assert decode_body(Kind.REQUEST_OPEN, SCHEMA, encode_body(opened)) == opened


def test_records_are_immutable() -> None:
    """No field of a record can be assigned."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROUND.accepted = 3  # type: ignore[misc]


def test_the_format_page_shows_the_golden_bytes() -> None:
    """Every byte string and note in FORMAT.md is one of the vectors, so the page cannot drift."""
    page = (Path(__file__).parents[2] / "audit" / "FORMAT.md").read_text()
    known = json.dumps([_vectors(name) for name in ("bodies.json", "later.json", "header.json", "sealed.json", "tile.json")])
    shown = re.findall(r"^    ([0-9a-f]{30,})$", page, re.MULTILINE)
    assert len(shown) == 18
    assert all(f'"{each}"' in known for each in shown)
    note = _vectors("note.json")
    assert all(f"    {line}\n" in page for line in (note["vkey"], *note["note"].strip().split("\n")) if line)


def test_the_format_page_names_every_kind() -> None:
    """The normative table has a row for each kind with every key that the code may write."""
    page = (Path(__file__).parents[2] / "audit" / "FORMAT.md").read_text()
    for kind, body in SAMPLES.items():
        (row,) = re.findall(rf"^\| {int(kind)} \| {re.escape(kind_name(kind))} \| (.*) \|$", page, re.MULTILINE)
        assert all(re.search(rf"(^|, |: |\[){key} ", row) for key in keys_of(type(body)))
