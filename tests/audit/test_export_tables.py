"""Laws of the derived tables: CSV, Parquet, OCSF and CEF."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import bundle
from audit.blocks import StepPlanes
from audit.export import columns, states
from audit.export.figures import COUNTS, WORDS, figures
from audit.export.folder import Folder
from audit.export.opened import BodyState, Opened
from audit.export.plain import plain
from audit.export.sheet import HEADER_COLUMNS, NAME, WARNING, Sheet, cell
from audit.export.siem import CEF_NAME, OCSF_NAME, cef, ocsf
from audit.header import Header, decode_header, leaf_hash, uuid7
from audit.records import (
    BODIES,
    Body,
    EngineNote,
    GateVerdict,
    Kind,
    PolicyDecision,
    PromptBody,
    RequestOpen,
    decode_body,
    kind_name,
    kind_of,
    schema_of,
)
from audit.sealing import RequestKey, unseal
from audit.trace import decode_step
from tests.audit.export_samples import ALL, altered, bundle_of, rows_of, with_bodies
from tests.audit.samples import BLOCK, LATER, POLICY, SAMPLES, START, TENANT, Log, small_log

LEADS = ("=", "+", "-", "@", "\t", "\r", "\n", '"', "\N{FULLWIDTH EQUALS SIGN}")
HOSTILE = st.builds(
    lambda space, lead, rest: space + lead + rest,
    st.text(" \u00a0\u2003", max_size=2),
    st.sampled_from((*LEADS, "", "|", "\\", "'", ",", ";")),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)


def opened(body: Body, actor: str = "gateway") -> Opened:
    """A record with the given actor and a shown body."""
    header = Header(
        TENANT,
        7,
        START,
        uuid7(START),
        uuid7(START),
        kind_of(body),
        schema_of(kind_of(body)),
        actor,
        POLICY,
        "2026-11-00",
        40,
        bytes(32),
    )
    return Opened(header, leaf_hash(header.encode()), BodyState.SHOWN, body)


@given(HOSTILE)
def test_no_cell_is_a_formula(text: str) -> None:
    """What a spreadsheet sees of a cell, spaces aside, never starts like a formula, a tab, a return or a quotation."""
    assert not cell(text).lstrip().startswith(LEADS)
    assert not any(ord(char) < 0x20 for char in cell(text))


@pytest.mark.parametrize("text", ["plain", "a=b", "2026-11-26T00:00:00Z", "key-1", "7", "é"])
def test_harmless_cells_stay_as_they_are(text: str) -> None:
    """Text that no spreadsheet acts on is not altered."""
    assert cell(text) == text


@given(actor=HOSTILE.filter(lambda text: 0 < len(text.encode()) <= 256), rule=HOSTILE)
def test_a_hostile_text_stays_in_its_cell(actor: str, rule: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever an actor or a rule is called, each record is one row of one width, and the first says that it is no evidence."""
    gate = GateVerdict(block_index=0, names=(), values=(), verdict="hold", start=0, rule=rule)
    out = tmp_path_factory.mktemp("sheet")
    with Folder(out) as folder:
        sheet = Sheet(folder)
        sheet.record(opened(gate, actor))
        sheet.close()
    text = (out / NAME).read_bytes().decode()
    warning, names, row = csv.reader(io.StringIO(text, newline=""))
    assert warning == [WARNING]
    assert len(names) == len(row) == len(HEADER_COLUMNS) + len(WORDS) + len(COUNTS)
    assert (row[names.index("actor")], row[names.index("rule")]) == (cell(actor), cell(rule))


def keys_in(out: Path) -> dict[tuple[str, str], RequestKey]:
    """The keys that a bundle discloses."""
    lines = (json.loads(line) for line in (out / bundle.DISCLOSURE).read_bytes().splitlines())
    return {(line["scope"], line["key_id"]): RequestKey(bundle.decode_bytes(line["key"], 32)) for line in lines}


def test_parquet_says_what_the_evidence_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of the Parquet file equals the header and the decrypted body of its line, in row groups of bounded length."""
    monkeypatch.setattr(columns, "GROUP_ROWS", 8)
    log = small_log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind(number)] for number in range(40, 54)])
    out = tmp_path / "out"
    bundle_of(log, out)
    file, keys = pq.ParquetFile(out / columns.NAME), keys_in(out)
    groups = [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)]
    assert groups == [8, 8, 8, 8, 3]
    rows: list[dict[str, Any]] = file.read().to_pylist()
    for row, stored in zip(rows, rows_of(out), strict=True):
        header, sealed = decode_header(stored.header), stored.body or b""
        for name in ("tenant", "seq", "kind", "schema", "actor", "policy", "key_id", "body_length", "body_sha256"):
            assert row[name] == getattr(header, name)
        assert UUID(bytes=row["record"]) == header.record
        assert (None if row["request"] is None else UUID(bytes=row["request"])) == header.request
        assert round(row["ts"].timestamp() * 1_000_000) == header.ts
        assert row["leaf"] == leaf_hash(stored.header) and row["body_sha256"] == hashlib.sha256(sealed).digest()
        key = keys[str(header.scope), header.key_id]
        body = decode_body(header.kind, header.schema, unseal(key, TENANT, header.record, sealed))
        assert json.loads(row["body"]) == plain(body)
        assert {name: row[name] for name in (*WORDS, *COUNTS) if row[name] is not None} == figures(body)
        assert row["body_state"] == BodyState.SHOWN


def test_every_intermediate_state_stands_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each denoising step of each shown block is a row that equals the step decoded from its record."""
    monkeypatch.setattr(states, "GROUP_POSITIONS", 8)
    log = small_log(tmp_path / "keys")
    bundle_of(log, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / states.NAME).to_pylist()
    assert [(row["seq"], row["block"], row["start"], row["step"]) for row in rows] == [
        (seq, 0, 12, step) for seq in (3, 14) for step in (0, 1)
    ]
    for row in rows:
        step = decode_step(BLOCK, row["step"])
        assert tuple(row["masked"]) == step.masked and tuple(row["proposal"]) == step.proposal
        assert tuple(row["confidence"]) == step.confidence and tuple(row["committed"]) == step.committed
        assert UUID(bytes=row["request"]) == decode_header(log.rows[row["seq"]].header).request


@pytest.mark.parametrize("steps", [1, 2**62])
def test_steps_of_no_width_cost_nothing(tmp_path: Path, steps: int) -> None:
    """A block that claims any number of empty steps, which takes no bytes to claim, neither stops nor stalls an export."""
    empty = StepPlanes(steps, 0, b"", b"", b"", (), b"")
    fields = {"commit_confidence": (), "verifier_logprob": (), "agreement": (), "emitted": 0}
    log = with_bodies(tmp_path / "keys", {Kind.BLOCK: altered(SAMPLES[Kind.BLOCK], steps=empty, tokens=(), **fields)})
    bundle_of(log, tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out" / states.NAME).num_rows == (1 if steps == 1 else 0)


def test_a_sealed_bundle_has_tables_of_headers_alone(tmp_path: Path) -> None:
    """What the disclosure does not open, no derived file shows: rows are there, their bodies and figures are not."""
    log = small_log(tmp_path / "keys")
    for path in (tmp_path / "keys" / "months").glob("*.json"):
        path.unlink()
    bundle_of(log, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / columns.NAME).to_pylist()
    assert {row["body_state"] for row in rows} == {BodyState.KEY_GONE.value}
    assert {row[name] for row in rows for name in ("body", *WORDS, *COUNTS)} == {None}
    assert not any((tmp_path / "out" / name).exists() for name in ("reports", "provenance", "attestations"))


SECRET = "palimpsest-content-marker"


def secretive(body: Body) -> Body:
    """The body with a marker in every text that a person or a model may have written."""
    match body:
        case RequestOpen():
            return replace(body, stop_strings=(SECRET,), constraint_source=SECRET, workflow=SECRET)
        case PromptBody():
            return replace(body, text=SECRET)
        case PolicyDecision():
            return replace(body, reason=SECRET)
        case EngineNote():
            return replace(body, detail=SECRET)
        case _:
            return body


def test_monitors_get_states_and_ids_and_no_content(tmp_path: Path) -> None:
    """Nothing that a person or a model wrote is in the OCSF or CEF lines, of which there is one for each record."""
    log = with_bodies(tmp_path / "keys", {kind: secretive(body) for kind, body in SAMPLES.items()})
    acts = [SAMPLES[Kind(number)] for number in range(40, 54)]
    log.add(None, [altered(act, reason=SECRET) for act in acts if hasattr(act, "reason")])
    bundle_of(log, tmp_path / "out")
    (page,) = (tmp_path / "out" / "reports").iterdir()
    assert SECRET in page.read_text()
    for name in (OCSF_NAME, CEF_NAME):
        text = (tmp_path / "out" / name).read_text()
        assert len(text.splitlines()) == len(log.rows)
        assert SECRET not in text


@pytest.mark.parametrize("kind", list(BODIES))
def test_an_ocsf_event_has_what_its_class_requires(kind: Kind) -> None:
    """Each record becomes an API Activity event of a known activity, with actor, source, time and a key against repeats."""
    record = opened(SAMPLES[kind])
    event: dict[str, Any] = json.loads(json.dumps(ocsf(record)))
    assert (event["class_uid"], event["category_uid"], event["type_uid"]) == (6003, 6, 600300 + event["activity_id"])
    assert event["activity_id"] in {1, 2, 3, 4, 99} and event["severity_id"] in {1, 2, 3}
    assert event["actor"]["user"]["uid"] == "gateway" and event["src_endpoint"]
    assert event["api"]["request"]["uid"] == str(record.header.request)
    assert event["time"] == START // 1000 and event["metadata"]["uid"] == f"{TENANT}/7"
    assert event["metadata"]["version"] and event["metadata"]["product"]["vendor_name"]
    assert event["unmapped"]["leaf"] == record.leaf.hex()
    assert event.get("activity_name") == (kind_name(kind) if event["activity_id"] == 99 else None)


def test_a_refusal_stands_out() -> None:
    """A refused request is a failure of raised severity in both formats, a permitted one is not."""
    allowed = SAMPLES[Kind.POLICY_DECISION]
    assert isinstance(allowed, PolicyDecision)
    refused = replace(allowed, outcome="refuse", status=403)
    events = [ocsf(opened(body)) for body in (allowed, refused)]
    assert [(event["status_id"], event["severity_id"]) for event in events] == [(1, 1), (2, 3)]
    assert [cef(opened(body)).split("|")[6] for body in (allowed, refused)] == ["1", "6"]


def test_what_is_not_shown_is_no_success() -> None:
    """Of a record whose body is sealed neither format says how it went: it may have been a refusal."""
    sealed = replace(opened(SAMPLES[Kind.POLICY_DECISION]), state=BodyState.UNDISCLOSED, body=None)
    event = ocsf(sealed)
    assert (event["status_id"], event["severity_id"], cef(sealed).split("|")[6]) == (0, 0, "Unknown")


@given(actor=HOSTILE.filter(lambda text: 0 < len(text.encode()) <= 256), rule=HOSTILE)
def test_a_cef_line_cannot_be_forged(actor: str, rule: str) -> None:
    """Whatever an actor or a rule is called, a record is one line of eight parts whose keys are ours."""
    gate = GateVerdict(block_index=3, names=(), values=(), verdict="hold", start=0, rule=rule)
    line = cef(opened(gate, actor))
    assert len(line.splitlines()) == 1 and line.isprintable()
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    assert parts[:4] == ["CEF:0", "Palimpsest", "gateway", "1"] and parts[4:7] == ["7", "gate", "4"]
    keys = re.findall(r"(\w+)(?<!\\)=", re.sub(r"\\.", "", parts[7]))
    assert keys == [
        "rt", "externalId", "suser", "cs1Label", "cs1", "cs2Label", "cs2", "cs3Label", "cs3", "cs4Label", "cs4", "outcome",
        "palimpsestRule", "palimpsestIndex",
    ]  # fmt: skip


def test_a_cef_line_has_values_of_the_length_that_its_dictionary_permits() -> None:
    """The key against repeats is one, and is not cut, whatever a tenant is called: `externalId` has at most 40 characters."""
    record = opened(SAMPLES[Kind.GATE])
    long = replace(record, header=replace(record.header, tenant="t" * 63, seq=2**63 - 1))
    told = dict(part.split("=", 1) for part in cef(long).split("|")[7].split(" "))
    assert told["externalId"] == str(record.header.record) and len(told["externalId"]) <= 40
    assert told["cs1"] == f"{'t' * 63}/{2**63 - 1}"


def test_figures_are_of_a_closed_vocabulary() -> None:
    """Every kind's figures have names of the two lists, words under the first and counts under the second."""
    assert figures(LATER[Kind.REQUEST_CLOSE])["busy_us"] == 1_500_000 and "busy_us" not in figures(SAMPLES[Kind.REQUEST_CLOSE])
    for body in (*SAMPLES.values(), *LATER.values()):
        told = figures(body)
        assert {name for name, value in told.items() if isinstance(value, str)} <= set(WORDS)
        assert {name for name, value in told.items() if isinstance(value, int)} <= set(COUNTS)


def test_absurd_numbers_do_not_stop_an_export(tmp_path: Path) -> None:
    """The largest count, index and time that a record can state pass through every format."""
    huge: dict[Kind, Body] = {}
    for kind, field in ((Kind.REQUEST_CLOSE, "tokens"), (Kind.GATE, "block_index"), (Kind.DELIVERY, "bytes_released")):
        huge[kind] = altered(SAMPLES[kind], **{field: 2**64 - 1})
    huge[Kind.BLOCK] = altered(SAMPLES[Kind.BLOCK], verifier_logprob=(float("-inf"), float("nan"), 0.0, 0.0))
    log = with_bodies(tmp_path / "keys", huge)
    late = Log(tmp_path / "late")
    late.add(None, [SAMPLES[Kind.ENGINE_NOTE]])
    header = replace(decode_header(late.rows[0].header), ts=2**63 - 1, seq=len(log.rows))
    log.rows.append(replace(late.rows[0], header=header.encode()))
    done = bundle_of(log, tmp_path / "out", ALL)
    assert (done.records, pq.read_metadata(tmp_path / "out" / columns.NAME).num_rows) == (11, 11)
    last = (tmp_path / "out" / NAME).read_text().splitlines()[-1]
    assert '"9999-12-31T23:59:59.999999Z"' in last
