"""Evidence over HTTP: a client holds, with the answer or later, what proves each record without us."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from audit.errors import AuditError
from audit.header import decode_header
from audit.ledger import log_origin
from audit.note import VerifierKey, decode_vkey, open_checkpoint
from audit.proof import check_proof, make_proof
from audit.records import Kind
from audit.signer import Signer
from audit.tiles import EntryBundle, Tile, entries_of, root_from_tiles
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.served import Served
from tests.gateway.test_serving import QUESTIONS
from tests.plain import PLAIN
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def get(served: Served, path: str, key: str | None = None) -> httpx.Response:
    """What a door says to a key."""
    headers = {"authorization": f"Bearer {served.key if key is None else key}"}
    return httpx.get(f"{served.url}{path}", headers=headers, timeout=30, trust_env=False, verify=PLAIN)


def pinned(served: Served) -> tuple[str, VerifierKey]:
    """The log's name and key, as its operator prints them."""
    origin = log_origin(served.settings.origin, TENANT)
    return origin, decode_vkey(Signer(served.settings.keys, origin).vkey)


def answered(served: Served, **own: Any) -> dict[str, Any]:
    """The `palimpsest` object of an answer."""
    body = {"model": served.model, "messages": [{"role": "user", "content": QUESTIONS[0].prompt}], "palimpsest": own}
    answer = served.post(body | {"temperature": 0})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["palimpsest"]
    return found


class Fetched:
    """A TileReader over HTTP, as an outsider's monitor would be."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def tile(self, tile: Tile) -> bytes | None:
        found = get(self._served, f"/log/{TENANT}/{tile.path}")
        return found.content if found.status_code == 200 else None


def test_an_answer_brings_its_proof(served: Served) -> None:
    """Asked for, the proof of the closing record comes with the answer and checks against the operator's key alone."""
    account = answered(served, proof=True)
    origin, key = pinned(served)
    header = base64.b64decode(account["proof"]["header"])
    proven = check_proof(account["proof"]["proof"], header, [key], origin)
    assert proven.header.kind == Kind.REQUEST_CLOSE and str(proven.header.request) == account["generation_id"]
    assert proven.header.seq == account["last_seq"] == account["proof"]["seq"] < proven.checkpoint.size


def test_a_stream_ends_with_its_proof(served: Served) -> None:
    """The last chunk of a stream carries it too."""
    body = {"model": served.model, "messages": [{"role": "user", "content": QUESTIONS[1].prompt}], "stream": True}
    answer = served.post(body | {"palimpsest": {"proof": True}})
    chunks = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    origin, key = pinned(served)
    proof = chunks[-1]["palimpsest"]["proof"]
    assert check_proof(proof["proof"], base64.b64decode(proof["header"]), [key], origin).header.tenant == TENANT


def test_an_answer_that_did_not_ask_has_none(served: Served) -> None:
    """Nobody waits for a checkpoint who did not ask for one."""
    assert "proof" not in answered(served)


def test_every_record_of_a_generation_is_proven(served: Served, tmp_path: Path) -> None:
    """All records of a request come with proofs, and the offline command accepts them and nothing else's header."""
    account = answered(served)
    path = f"/api/generations/{account['generation_id']}/proof"
    eventually(lambda: all(record["proof"] for record in get(served, path).json()["records"]))
    document = get(served, path).json()
    origin, key = pinned(served)
    assert document["origin"] == origin and len(document["records"]) == account["records"]
    headers = [base64.b64decode(record["header"]) for record in document["records"]]
    for record, header in zip(document["records"], headers, strict=True):
        assert check_proof(record["proof"], header, [key], origin).header.seq == record["seq"]
    with pytest.raises(AuditError):
        check_proof(document["records"][0]["proof"], headers[1], [key], origin)
    (tmp_path / "one.tlog-proof").write_text(document["records"][0]["proof"], encoding="utf-8")
    (tmp_path / "one.header").write_bytes(headers[0])
    command = [
        sys.executable,
        "-m",
        "audit",
        "check",
        str(tmp_path / "one.tlog-proof"),
        "--header",
        str(tmp_path / "one.header"),
    ]
    done = subprocess.run(
        [*command, "--vkey", str(key), "--origin", origin], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_outsider_rebuilds_the_tree_from_tiles(served: Served) -> None:
    """Checkpoint, tiles and entries fetched over HTTP agree: same root, and leaves that are the entries' hashes."""
    answered(served, proof=True)
    origin, key = pinned(served)
    note = get(served, f"/log/{TENANT}/checkpoint")
    assert (note.headers["content-type"], note.headers["cache-control"]) == ("text/plain; charset=utf-8", "no-store")
    checkpoint = open_checkpoint(note.text, [key], origin)
    assert root_from_tiles(Fetched(served), checkpoint.size) == checkpoint.root
    last = (checkpoint.size - 1) // 256
    width = checkpoint.size - last * 256
    bundle = get(served, f"/log/{TENANT}/{EntryBundle(last, width).path}")
    assert "immutable" in bundle.headers["cache-control"]
    header = entries_of(bundle.content, width)[-1]
    assert decode_header(header).seq == checkpoint.size - 1
    check_proof(make_proof(Fetched(served), checkpoint.size - 1, note.text), header, [key], origin)


@pytest.mark.parametrize(
    "path",
    ["tile/0/x001/000", "tile/64/000", "tile/0/00", "tile/0/000.p/0", "nothing", "tile/entries/x999/999"],
)
def test_what_is_not_there_is_404(served: Served, path: str) -> None:
    """Tiles beyond the tree and paths that name none are one 404, in the dialect's shape."""
    found = get(served, f"/log/{TENANT}/{path}")
    assert found.status_code == 404 and "error" in found.json()


def test_a_key_opens_its_own_tenants_evidence_only(served: Served) -> None:
    """Another tenant's key, or none, learns nothing: not of the log, not of a generation."""
    account = answered(served)
    plant_tenant(served.database.app_url, "stranger")
    key = plant_key(served.database.app_url, "stranger").text
    for path in (f"/log/{TENANT}/checkpoint", f"/api/generations/{account['generation_id']}/proof"):
        assert get(served, path, key).status_code == 404
        assert get(served, path, "wrong").status_code == 401
    assert get(served, f"/api/generations/{UUID(int=1)}/proof").status_code == 404
    assert get(served, "/api/generations/none/proof").status_code == 404
