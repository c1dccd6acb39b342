"""One fixed body per kind, and a real log in a folder, for the tests of the audit room."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from audit import cbor
from audit.acts import (
    Access,
    Anchored,
    Erasure,
    ErasureRefused,
    Export,
    HoldPlaced,
    HoldReleased,
    KeyChange,
    KeyTerms,
    PasskeyChange,
    PolicyChange,
    RetentionRule,
    Retirement,
    SchemaChange,
    TenantMade,
    UserChange,
    commit_to,
)
from audit.export import Disclosure, Exported, disclose_all, export
from audit.forms import SHORT_IDS, write
from audit.header import Header, StoredRecord, leaf_hash, uuid7
from audit.judgements import Asked, Called, Due, ReleaseDecision
from audit.keys import KeyStore
from audit.merkle import CompactRange
from audit.records import (
    SCHEMA,
    Alternatives,
    BlockTrace,
    Body,
    DecodeRun,
    Delivery,
    EngineNote,
    GateVerdict,
    Kind,
    PolicyDecision,
    PromptBody,
    RequestAbandoned,
    RequestClose,
    RequestOpen,
    SpecRounds,
    SpecRoundTrace,
    encode_body,
    kind_of,
    schema_of,
)
from audit.sealing import request_key, seal
from audit.signer import Signer
from audit.trace import Step, encode_steps
from tests.audit.approval_bodies import APPROVALS
from tests.audit.authenticator import cose_of, p256

TENANT = "acme"
ORIGIN = "palimpsest.test/acme"
START = 1_795_000_000_000_000
INSTANCE = UUID("0198c0de-0000-7000-8000-000000000001")
POLICY = hashlib.sha256(b"policy").digest()

STEPS = (
    Step((False, True, True, True), (7, 40, 50, 60), (0.0, 1.0, 0.2, 0.6), (False, True, False, False)),
    Step((False, False, True, True), (7, 40, 51, 60), (0.0, 0.0, 0.8, 0.4), (False, False, True, True)),
)
BLOCK = BlockTrace(
    index=0, start=12, seeded=True, steps=encode_steps(STEPS), tokens=(7, 40, 51, 60),
    commit_confidence=(1.0, 1.0, 0.75, 0.5), verifier_logprob=(-0.125, -0.5, -1.0, -2.0),
    agreement=(True, True, False, True), emitted=4, forwards=3, complete=True,
)  # fmt: skip
_SURE = (1.0, 1.0, struct.unpack("f", struct.pack("f", 0.8))[0], struct.unpack("f", struct.pack("f", 0.4))[0])
SURE = dataclasses.replace(BLOCK, steps=encode_steps(STEPS, _SURE), commit_confidence=_SURE)
"""The same, but it says of each token what the step said that committed it."""
ROUND = SpecRoundTrace(
    index=0, start=16, draft=(60, 70000, 81), draft_confidence=(1.0, 0.5, 0.25), verified=(70000, 80, 9),
    accepted=1, output=(70000, 80), logprob=(-0.25, -0.5), forwards=2, complete=True,
)  # fmt: skip
OUTPUT = (7, 40, 51, 60, 70000, 80, 11)
HOLD = UUID("0198c0de-0003-7000-8000-000000000003")
SALT = bytes(range(16))
TWO = {"requested_by": "ada", "approved_by": "grace"}

SAMPLES: dict[Kind, Body] = {
    Kind.REQUEST_OPEN: RequestOpen(
        caller="key-1", workflow="default", model="tiny", weights_digest=hashlib.sha256(b"weights").digest(),
        numeric="strict", dtype="float32", fingerprint="ab12", mode="diffusion",
        modes_permitted=("ar", "diffusion"), block_length=4, threshold=0.9, max_steps=4, seed_first=True,
        temperature=0.0, seed=2**64 - 1, choice=0, max_tokens=16, prompt_tokens=3, instance=INSTANCE,
        dialect="openai.chat", top_p=0.5, top_k=40, min_p=0.0625, presence_penalty=-2.0, frequency_penalty=0.5,
        repetition_penalty=1.25, top_logprobs=2, think_budget=None, stop_strings=("\n\n", "é"), stop_ids=(11, 70000),
        constraint_kind="regex", constraint_source="(ab)*", gated=True,
    ),
    Kind.PROMPT_BODY: PromptBody(text='[{"content":"hé","role":"user"}]', ids=(1, 200, 11)),
    Kind.POLICY_DECISION: PolicyDecision(
        outcome="allow", reason="baseline", mode="diffusion", modes_permitted=("ar", "diffusion"),
        release="stream", policy_digest=POLICY, rules=("baseline",), status=0,
    ),
    Kind.BLOCK: BLOCK,
    Kind.SPEC_ROUNDS: SpecRounds((ROUND,)),
    Kind.DECODE_RUN: DecodeRun(start=18, output=(11,), logprob=(-0.0625,), forwards=1),
    Kind.GATE: GateVerdict(
        block_index=0, names=("commit", "agree"), values=(0.5, 0.75), verdict="hold", start=12, rule="gates.commit",
    ),
    Kind.ENGINE_NOTE: EngineNote(note="prefilled", detail='{"passes":1,"tokens":3}'),
    Kind.DELIVERY: Delivery(5, hashlib.sha256(b"hello").digest(), "complete"),
    Kind.REQUEST_CLOSE: RequestClose(
        reason="stop", prompt_tokens=3, tokens=7, blocks=1, steps=2, rounds=1, forwards=6,
        output_digest=hashlib.sha256(b"".join(i.to_bytes(4, "big") for i in OUTPUT)).digest(), records=10,
    ),
    Kind.REQUEST_ABANDONED: RequestAbandoned(found_by=INSTANCE, last_seq=41),
    Kind.ALTERNATIVES: Alternatives(start=16, width=2, ids=(70000, 80, 80, 9), logprob=(-0.25, -1.5, -0.5, -2.0)),
    Kind.RELEASE_DECISION: ReleaseDecision(
        verdict="hold", rules=("gate:sure", "rule:eyes"), due=(Due("default", ("gate:sure",)), Due("boss", ("rule:eyes",))),
        names=("tokens", "logprob_mean"), values=(7.0, -1 / 3), calls=(Called("bash", ("secrets/**",)), Called("read", ())),
        globs=("secrets/**", "*.py"), held_by=("gate:sure",), blocked_by=(),
    ),
    Kind.POLICY_CHANGE: PolicyChange(
        before=None, after=hashlib.sha256(b"[modes]").digest(), document="[modes]", reason="first law",
        requested_by="ada", approved_by="grace",
    ),
    Kind.KEY_CHANGE: KeyChange(act="revoked", purpose="caller", key="key-1", label="laptop", requested_by="ada"),
    Kind.ERASURE: Erasure(
        subject=commit_to("key-1", SALT), salt=SALT, key_ids=("2026-10-aa", "2026-11-bb"), reason="asked to", **TWO,
    ),
    Kind.HOLD_PLACED: HoldPlaced(hold=HOLD, subject="key-1", reason="case 7", requested_by="ada"),
    Kind.HOLD_RELEASED: HoldReleased(hold=HOLD, reason="case closed", **TWO),
    Kind.RETENTION_RULE: RetentionRule(days=184, reason="six months", **TWO),
    Kind.RETIREMENT: Retirement(rule=3, before=START, first=0, last=41, requested_by="ada"),
    Kind.ACCESS: Access(request=INSTANCE, first=3, last=9, reason="complaint", requested_by="ada"),
    Kind.EXPORT: Export(
        format="palimpsest-bundle/1", size=42, disclosed="requests", requests=1, reason="audit", requested_by="ada",
    ),
    Kind.SCHEMA_CHANGE: SchemaChange(revision="0003", before=POLICY, after=POLICY, requested_by="ada"),
    Kind.ERASURE_REFUSED: ErasureRefused(
        subject=commit_to("key-1", SALT), salt=SALT, holds=(HOLD,), reason="asked to", **TWO,
    ),
    Kind.TENANT_MADE: TenantMade(tenant="acme", requested_by="account root"),
    Kind.USER_CHANGE: UserChange(
        act="roles", user=INSTANCE, name="grace", display_name="Grace Hopper", roles=("approver", "auditor"), groups=("leads",),
        enabled=True, requested_by="ada",
    ),
    Kind.KEY_TERMS: KeyTerms(key="key-1", user="grace", expires=START, requested_by="system/ada"),
    Kind.PASSKEY_CHANGE: PasskeyChange(
        act="added", user=INSTANCE, name="grace", credential=bytes(range(16)), public_key=cose_of(p256(7)),
        rp_id="gate.example", label="laptop", requested_by="grace",
    ),
    Kind.ANCHORED: Anchored(origin="example.org/acme", size=42, root=POLICY, requested_by="anchoring"),
    **APPROVALS,
}  # fmt: skip
LATER: dict[Kind, Body] = {
    Kind.POLICY_DECISION: PolicyDecision(
        outcome="refuse", reason="blocked_by_policy: no", mode="", modes_permitted=(), release="stream", policy_digest=POLICY,
        rules=("rule:no",), status=403,
        facts=Asked(
            model="tiny", requested_mode="auto", workflow="release-9", risk=None, max_tokens=64, block_length=None,
            threshold=0.3, max_steps=None, seed_first=False, prompt_tokens=3, groups=("engineers",), tools=("bash", "read"),
            latency_target_ms=200, minute_of_week=10_079, exceeded=("daily",),
        ),
    ),
    Kind.GATE: GateVerdict(
        block_index=1, names=("tokens",), values=(4.0,), verdict="refine", start=12, rule="gate:sure", mode="diffusion",
        threshold=0.7, steps=8,
    ),
    Kind.REQUEST_CLOSE: RequestClose(
        reason="aborted", prompt_tokens=3, tokens=0, blocks=0, steps=0, rounds=0, forwards=0,
        output_digest=hashlib.sha256(b"").digest(), records=5, busy_us=1_500_000,
    ),
    Kind.RELEASE_DECISION: ReleaseDecision(
        verdict="annotate", rules=("rule:mark",), due=(), names=("tokens",), values=(7.0,), calls=(), globs=(), held_by=(),
        blocked_by=(), annotations=("gate:sure", "rule:mark"),
    ),
    Kind.POLICY_CHANGE: PolicyChange(
        before=POLICY, after=hashlib.sha256(b"[modes]").digest(), document="[modes]", reason="a try", requested_by="ada",
        approved_by="grace", share=0.1,
    ),
}  # fmt: skip
"""Bodies that use the keys that their kinds gained later."""
WHOLE_REQUEST = tuple(SAMPLES[Kind(number)] for number in range(1, 11))


@dataclass
class Log:
    """A tenant's log with real keys and signer, its rows held in a list as the database would hold them."""

    folder: Path
    rows: list[StoredRecord] = field(default_factory=list)
    tree: CompactRange = field(default_factory=CompactRange)
    notes: list[str] = field(default_factory=list)
    skipped: int = 0
    """Microseconds in which nothing was recorded."""
    tenant: str = TENANT
    origin: str = ORIGIN

    def __post_init__(self) -> None:
        self.keys = KeyStore(self.folder)
        self.signer = Signer(self.folder, self.origin)

    @property
    def leaves(self) -> list[bytes]:
        """Leaf hashes of all rows."""
        return [leaf_hash(row.header) for row in self.rows]

    def add(
        self, request: UUID | None, bodies: Sequence[Body], subject: str = "key-1", actor: str = "gateway",
        policy: bytes = POLICY,
    ) -> None:  # fmt: skip
        """Append bodies as records of one request."""
        for body in bodies:
            seq, record = len(self.rows), uuid7(START)
            ts = START + self.skipped + seq
            month = self.keys.month_key(self.tenant, subject, ts)
            key = request_key(month.secret, record if request is None else request)
            sealed = seal(key, self.tenant, record, encode_body(body))
            header = Header(
                self.tenant, seq, ts, record, request, kind_of(body), schema_of(kind_of(body)), actor, policy, month.key_id,
                len(sealed), hashlib.sha256(sealed).digest(),
            ).encode()  # fmt: skip
            self.rows.append(StoredRecord(header, sealed))
            self.tree.append(leaf_hash(header))

    def checkpoint(self) -> str:
        """Sign the whole log as it stands."""
        note = self.signer.sign(self.tree.size, self.tree.root(), self.leaves)
        self.notes.append(note)
        return note

    def export(self, out: Path, disclose: Disclosure | None = None, anchor: bytes | None = None) -> Exported:
        """Write the bundle of the rows as they stand."""
        chosen = disclose_all(self.keys) if disclose is None else disclose
        return export(
            out, origin=self.origin, tenant=self.tenant, records=self.rows, checkpoints=self.notes, disclose=chosen,
            anchor=anchor,
        )  # fmt: skip


def small_log(folder: Path) -> Log:
    """Two closed requests with a checkpoint after each, and one record outside any request."""
    log = Log(folder)
    log.add(uuid7(START), WHOLE_REQUEST)
    log.checkpoint()
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]], subject="system")
    log.add(uuid7(START), WHOLE_REQUEST)
    log.checkpoint()
    return log


def in_schema(schema: int, block: BlockTrace) -> bytes:
    """A block that states every confidence, as an earlier schema spelt it; in the second, ids have two, three or four bytes."""
    if schema == SCHEMA:
        return write(block)
    entries: Any = cbor.decode(encode_body(block))
    entries[4][7] = block.steps.confidence
    if schema == 2:
        entries[4][6] = cbor.decode(SHORT_IDS.write(block.steps.ids))
        entries[5] = None if entries[5] is None else cbor.decode(SHORT_IDS.write(block.tokens))
    return cbor.encode(entries)
