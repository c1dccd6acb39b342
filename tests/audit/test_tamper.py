"""The tamper matrix: what a superuser of the database can do to a log, and how it is found out.

Every attack is made for real, with triggers off, on a log that a real writer recorded and signed; then the log is exported
and verified. Attacks that leave a consistent, signed, shorter or other history need a checkpoint that left the house.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.__main__ import main
from audit.header import leaf_hash
from audit.ledger import log_origin
from audit.merkle import tree_root
from audit.note import Checkpoint, sign_checkpoint
from audit.store import LogRefused, read_tenant
from tests.audit.writer_samples import TENANT, Place, entry

RECORDS = 12
VICTIM = 7
Attack = Callable[[psycopg.Connection], object]


async def recorded(place: Place, tenant: str = TENANT, records: int = RECORDS) -> None:
    """A log of `records` notes in two signed halves."""
    for half in (range(records // 2), range(records // 2, records)):
        async with place.writing() as writer:
            for number in half:
                await writer.append([entry(f"note {number}", tenant)])


def attack(place: Place, act: Attack) -> None:
    """Do `act` as a superuser for whom no trigger fires."""
    with psycopg.connect(place.database.superuser_url) as connection:
        connection.execute("SET session_replication_role = replica")
        act(connection)


def verdict(place: Place, capsys: pytest.CaptureFixture[str], *kept: Path, tenant: str = TENANT) -> tuple[int, str]:
    """Exit status and report of the verifier over a fresh export."""
    out = place.keys.parent / f"export-{len(list(place.keys.parent.glob('export-*')))}"
    vkey, origin = place.export(out, tenant)
    capsys.readouterr()
    status = main(["verify", str(out), "--vkey", vkey, "--origin", origin, *(f"--checkpoint={file}" for file in kept)])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def kept_checkpoint(place: Place) -> Path:
    """The newest checkpoint, as an auditor would have kept it elsewhere."""
    path = place.keys.parent / "kept.txt"
    with read_tenant(place.database.reader_url, TENANT) as reader:
        path.write_text(list(reader.checkpoints())[-1], encoding="utf-8")
    return path


def flip(table: str, column: str, seq: int = VICTIM, byte: int = 40) -> Attack:
    """One bit of one row."""
    change = f"{column} = set_byte({column}, {byte}, get_byte({column}, {byte}) # 1)"
    return lambda connection: connection.execute(
        f"UPDATE audit.{table} SET {change} WHERE tenant = %s AND seq = %s", (TENANT, seq)
    )


def delete(*seqs: int) -> Attack:
    """Whole records, header and body."""

    def act(connection: psycopg.Connection) -> None:
        for table in ("header", "body"):
            connection.execute(f"DELETE FROM audit.{table} WHERE tenant = %s AND seq = ANY(%s)", (TENANT, list(seqs)))

    return act


def swap_bodies(connection: psycopg.Connection) -> None:
    """Two records exchange their bodies."""
    connection.execute(
        "UPDATE audit.body b SET data = o.data FROM audit.body o WHERE b.tenant = %s AND o.tenant = b.tenant"
        " AND (b.seq, o.seq) IN ((%s, %s), (%s, %s))",
        (TENANT, VICTIM, VICTIM + 1, VICTIM + 1, VICTIM),
    )


def swap_records(connection: psycopg.Connection) -> None:
    """Two records exchange their places."""
    for table in ("header", "body"):
        for before, after in ((VICTIM, -1), (VICTIM + 1, VICTIM), (-1, VICTIM + 1)):
            connection.execute("ALTER TABLE audit.header DROP CONSTRAINT IF EXISTS header_seq_check")
            connection.execute(f"UPDATE audit.{table} SET seq = %s WHERE tenant = %s AND seq = %s", (after, TENANT, before))


def duplicate(connection: psycopg.Connection) -> None:
    """One record stands twice."""
    connection.execute("ALTER TABLE audit.header DROP CONSTRAINT header_pkey CASCADE")
    connection.execute("INSERT INTO audit.header SELECT * FROM audit.header WHERE tenant = %s AND seq = %s", (TENANT, VICTIM))


def from_another_tenant(connection: psycopg.Connection) -> None:
    """A record's header is that of the same place in another tenant's log."""
    connection.execute(
        "UPDATE audit.header h SET raw = o.raw FROM audit.header o"
        " WHERE h.tenant = %s AND h.seq = %s AND o.tenant = 'other' AND o.seq = h.seq",
        (TENANT, VICTIM),
    )


def forge_note(connection: psycopg.Connection) -> None:
    """A checkpoint's root is another."""
    connection.execute(
        "UPDATE audit.checkpoint SET note = regexp_replace(note, E'\\n[A-Za-z0-9+/]{4}', E'\\nAAAA') WHERE tenant = %s",
        (TENANT,),
    )


NAMED = [
    ("a bit of a body", flip("body", "data"), f"record seq {VICTIM} "),
    ("a bit of a header's digest", flip("header", "raw", byte=90), f"record seq {VICTIM} "),
    ("two bodies swapped", swap_bodies, f"record seq {VICTIM} "),
    ("two records swapped", swap_records, f"record seq {VICTIM} "),
    ("a record deleted from the middle", delete(VICTIM), f"record seq {VICTIM} "),
    ("a record from another tenant", from_another_tenant, f"record seq {VICTIM} "),
    ("a record twice", duplicate, f"record seq {VICTIM + 1} "),
    ("the first record deleted", delete(0), "record seq 0 "),
    ("all checkpoints changed", forge_note, "checkpoint"),
]


@pytest.mark.parametrize(("act", "named"), [case[1:] for case in NAMED], ids=[case[0] for case in NAMED])
async def test_what_is_changed_is_found_and_named(
    place: Place, capsys: pytest.CaptureFixture[str], act: Attack, named: str
) -> None:
    """Nothing that a superuser changes within a signed log is verified, and the report names the place."""
    await recorded(place)
    await recorded(place, "other")
    assert verdict(place, capsys)[0] == 0
    attack(place, act)
    status, report = verdict(place, capsys)
    assert status in (1, 2) and named in report, report


async def test_a_time_or_kind_that_only_the_columns_tell_is_not_believed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns are copies: changing one changes nothing that is proven, and the export still tells the truth."""
    await recorded(place)
    attack(place, lambda connection: connection.execute("UPDATE audit.header SET kind = 9, ts = ts + 1"))
    status, report = verdict(place, capsys)
    assert status == 0, report


async def test_a_tail_cut_off_needs_a_checkpoint_that_was_kept(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A log restored from an older backup verifies by itself, which is why checkpoints leave the house: one tells."""
    await recorded(place)
    kept = kept_checkpoint(place)
    place.restore(RECORDS // 2)
    assert verdict(place, capsys)[0] == 0
    status, report = verdict(place, capsys, kept)
    assert status == 3 and "the tail was cut off" in report


async def test_a_forged_tail_is_never_called_proven(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A record inserted behind the newest checkpoint is told apart from what was signed."""
    await recorded(place)

    def act(connection: psycopg.Connection) -> None:
        connection.execute("CREATE TEMP TABLE forged AS SELECT * FROM audit.header WHERE tenant = %s AND seq = 0", (TENANT,))
        connection.execute("UPDATE forged SET seq = %s", (RECORDS,))
        connection.execute("INSERT INTO audit.header SELECT * FROM forged")

    attack(place, act)
    status, report = verdict(place, capsys)
    assert status in (1, 3) and str(RECORDS) in report


async def test_a_history_signed_anew_fails_only_against_a_kept_checkpoint(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever holds database and signing key can make another true-looking history; a checkpoint elsewhere exposes it."""
    await recorded(place)
    kept = kept_checkpoint(place)

    def act(connection: psycopg.Connection) -> None:
        delete(*range(VICTIM, RECORDS))(connection)
        rows = connection.execute("SELECT raw FROM audit.header WHERE tenant = %s ORDER BY seq", (TENANT,)).fetchall()
        root = tree_root([leaf_hash(row[0]) for row in rows])
        origin = log_origin(place.origin, TENANT)
        (key_file,) = place.keys.rglob("ed25519.key")
        key = Ed25519PrivateKey.from_private_bytes(key_file.read_bytes())
        note = sign_checkpoint(Checkpoint(origin, len(rows), root), key)
        connection.execute("DELETE FROM audit.checkpoint WHERE tenant = %s", (TENANT,))
        connection.execute(
            "INSERT INTO audit.checkpoint (tenant, size, root, note) VALUES (%s, %s, %s, %s)", (TENANT, len(rows), root, note)
        )

    attack(place, act)
    assert verdict(place, capsys)[0] == 0
    status, report = verdict(place, capsys, kept)
    assert status in (1, 3) and "your checkpoint" in report


async def test_a_rule_that_swallows_rows_is_noticed_by_append(place: Place) -> None:
    """INSTEAD NOTHING would let an append succeed and store nothing; append() counts its own rows and refuses."""
    await recorded(place)
    with psycopg.connect(place.database.superuser_url) as connection:
        connection.execute("CREATE RULE swallow AS ON INSERT TO audit.header DO INSTEAD NOTHING")
    async with place.writing() as writer:
        with pytest.raises(LogRefused, match="headers were stored"):
            await writer.append([entry("lost")])


async def test_the_file_of_checkpoints_is_what_was_signed(place: Place) -> None:
    """Every checkpoint also lies in the file beside the keys, where the database's superuser cannot reach it."""
    await recorded(place)
    (path,) = (place.keys / "checkpoints").glob(f"*{TENANT}.jsonl")
    filed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with read_tenant(place.database.reader_url, TENANT) as reader:
        stored = set(reader.checkpoints())
    assert stored and stored <= set(filed)
