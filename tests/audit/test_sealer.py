"""Sealing an append: every record has chance of its own, and a key that was destroyed seals nothing more."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import EngineNote
from audit.sealer import Entry, Sealer, open_body
from audit.sealing import NONCE_BYTES

REQUEST = UUID("01890000-0000-7000-8000-000000000001")


def entry(text: str, actor: str = "ada") -> Entry:
    """A record of one request."""
    return Entry("acme", REQUEST, actor, None, EngineNote("note", text))


def test_no_two_records_share_chance(tmp_path: Path) -> None:
    """Records of one append and of the next differ in id and in nonce, and no id is made of a nonce's bytes."""
    sealer = Sealer(tmp_path)
    sealed = [*sealer.seal([entry("same")] * 40), *sealer.seal([entry("same")] * 40)]
    nonces = {record.sealed[:NONCE_BYTES] for record in sealed}
    ids = {decode_header(record.blank.at(0, 0)).record for record in sealed}
    assert len(nonces) == len(ids) == 80
    assert not any(made.bytes[-7:] in nonce for nonce in nonces for made in ids)  # the rest of an id is not chance alone


@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["ada", "kay", "grace"])), min_size=1, max_size=8))
def test_what_is_sealed_together_opens_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, str]]
) -> None:
    """Each record of an append opens under its own subject's key, in order."""
    folder = tmp_path_factory.mktemp("keys")
    sealer, store = Sealer(folder), KeyStore(folder)
    sealed = sealer.seal([entry(text, actor) for text, actor in written])
    headers = [decode_header(record.blank.at(place, 7)) for place, record in enumerate(sealed)]
    assert [open_body(store, header, record.sealed) for header, record in zip(headers, sealed, strict=True)] == [
        EngineNote("note", text) for text, _ in written
    ]
    assert [header.actor for header in headers] == [actor for _, actor in written]
    assert len({header.key_id for header in headers}) == len({actor for _, actor in written})


def test_a_key_that_another_process_destroyed_seals_nothing_more(tmp_path: Path) -> None:
    """The next append after an erasure elsewhere is sealed under a new key, which opens nothing of before."""
    sealer, elsewhere = Sealer(tmp_path), KeyStore(tmp_path)
    (before,) = sealer.seal([entry("before")])
    elsewhere.destroy(elsewhere.keys_of("acme", "ada"))
    (after,) = sealer.seal([entry("after")])
    assert decode_header(before.blank.at(0, 0)).key_id != decode_header(after.blank.at(1, 0)).key_id
    assert open_body(KeyStore(tmp_path), decode_header(after.blank.at(1, 0)), after.sealed) == EngineNote("note", "after")
