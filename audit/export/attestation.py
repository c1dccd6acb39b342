"""An in-toto Statement v1 per ended generation, in a DSSE envelope under the log's key.

Subjects are the sealed bodies of the delivery and of the end, by the SHA-256 over ciphertext that their headers commit
to: no digest of plaintext leaves the encrypted bodies. The delivery record inside names the released bytes.

Nothing is signed on trust: a statement waits in a spool, on disk, until the pass reaches the first checkpoint, under the
log's key, that covers its records. If the records have the root that was signed there, it is signed; if not, it is dropped.
"""

from __future__ import annotations

import json
import tempfile

from audit.bundle import json_line
from audit.export.derivation import Derivation
from audit.export.dsse import Attester
from audit.export.folder import Folder
from audit.export.generations import Generation
from audit.export.plain import stamp
from audit.header import Header
from audit.note import Checkpoint
from audit.records import kind_name

FOLDER = "attestations"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "tag:palimpsest.local,2026:generation/v1"


class Attestations(Derivation):
    """Writes `attestations/<generation>.dsse.json`."""

    def __init__(self, folder: Folder, attester: Attester) -> None:
        self._folder, self._attester = folder, attester
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the pass

    def generation(self, told: Generation, cover: Checkpoint | None) -> None:
        if cover is not None and told.endings:
            self._spool.write(json_line({"name": told.name, "statement": statement(told, cover)}))

    def checkpoint(self, holds: bool) -> None:
        self._spool.seek(0)
        if holds:
            for line in self._spool:
                self._sign(line)
        self._spool.seek(0)
        self._spool.truncate()

    def close(self) -> None:
        self._spool.close()

    def _sign(self, line: bytes) -> None:
        waiting = json.loads(line)
        payload = json_line(waiting["statement"])
        self._folder.write(f"{FOLDER}/{waiting['name']}.dsse.json", self._attester.envelope(PAYLOAD_TYPE, payload))


def statement(told: Generation, cover: Checkpoint) -> dict[str, object]:
    """The statement about a generation whose records the checkpoint covers."""
    return {
        "_type": STATEMENT,
        "subject": [_subject(header) for header in told.endings],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": _definition(told),
            "runDetails": {
                "builder": {"id": f"urn:uuid:{told.opened.instance}"},
                "metadata": {
                    "invocationId": f"urn:uuid:{told.request}", "startedOn": stamp(told.first.ts),
                    "finishedOn": stamp(told.last.ts),
                },
            },
            "log": {
                "origin": cover.origin, "treeSize": cover.size, "root": cover.root.hex(), "firstSeq": told.first.seq,
                "lastSeq": told.last.seq, "records": told.records, "recordsRoot": told.leaves.root().hex(),
            },
            "ending": told.ending.value,
        },
    }  # fmt: skip


def _subject(header: Header) -> dict[str, object]:
    name = f"{header.tenant}/{header.seq}/{kind_name(header.kind)}"
    return {"name": name, "mediaType": "application/octet-stream", "digest": {"sha256": header.body_sha256.hex()}}


def _definition(told: Generation) -> dict[str, object]:
    opened, policy = told.opened, told.first.policy if told.decision is None else told.decision.policy_digest
    materials = [{"name": "model", "digest": {"sha256": opened.weights_digest.hex()}}]
    if policy is not None:
        materials.append({"name": "policy", "digest": {"sha256": policy.hex()}})
    return {
        "buildType": PREDICATE,
        "externalParameters": {"caller": opened.caller, "mode": opened.mode, "model": opened.model, "numeric": opened.numeric},
        "resolvedDependencies": materials,
    }
