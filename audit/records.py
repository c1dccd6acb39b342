"""The bodies of records, one frozen dataclass per kind, with their integer keys; approvals and acts have files of their own.

Kinds, keys and meanings are append-only: a number is never reused and a field never changes its form under
one schema version. Floats in planes are exact float32 values; token ids fit 32 bits. `audit/FORMAT.md` is the
normative text, `tests/audit/vectors` holds golden bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias
from uuid import UUID

from audit import cbor, forms
from audit.acts import (
    Access,
    Act,
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
)
from audit.approvals import (
    AfterRelease,
    Approval,
    ApprovalDecided,
    ApprovalEnded,
    ApprovalOpened,
    ApprovalRevoked,
    ApprovalVoided,
    ApprovedDelivery,
    Attached,
    Delegation,
    ResultAttached,
)
from audit.blocks import BlockTrace as BlockTrace  # noqa: PLC0414 - a record like the others, in a file of its own
from audit.blocks import read_first, read_fourth, read_second, read_third, write_fourth
from audit.errors import InvalidRecord, MalformedData
from audit.forms import BOOL, DIGEST, FLOAT, FLOATS, IDS, TEXT, TEXTS, UINT, UUID16, at
from audit.judgements import Asked, ReleaseDecision

SCHEMA = 1
"""The schema of every kind but blocks."""
BLOCK_SCHEMA = 4
"""The schema in which blocks are written; those of schemas 1 to 3 are read."""
_BLOCKS = {SCHEMA: read_first, 2: read_second, 3: read_third, BLOCK_SCHEMA: read_fourth}


class Kind(IntEnum):
    """What a record states. From 20 approvals, from 40 administration."""

    REQUEST_OPEN = 1
    PROMPT_BODY = 2
    POLICY_DECISION = 3
    BLOCK = 4
    SPEC_ROUNDS = 5
    DECODE_RUN = 6
    GATE = 7
    ENGINE_NOTE = 8
    DELIVERY = 9
    REQUEST_CLOSE = 10
    REQUEST_ABANDONED = 11
    ALTERNATIVES = 12
    RELEASE_DECISION = 13
    APPROVAL_OPENED = 20
    APPROVAL_DECIDED = 21
    APPROVAL_REVOKED = 22
    APPROVAL_VOIDED = 23
    APPROVAL_ENDED = 24
    APPROVED_DELIVERY = 25
    ATTACHED = 26
    DELEGATION = 27
    RESULT_ATTACHED = 28
    AFTER_RELEASE = 29
    POLICY_CHANGE = 40
    KEY_CHANGE = 41
    ERASURE = 42
    HOLD_PLACED = 43
    HOLD_RELEASED = 44
    RETENTION_RULE = 45
    RETIREMENT = 46
    ACCESS = 47
    EXPORT = 48
    SCHEMA_CHANGE = 49
    ERASURE_REFUSED = 50
    TENANT_MADE = 51
    USER_CHANGE = 52
    KEY_TERMS = 53
    PASSKEY_CHANGE = 54
    ANCHORED = 55


KINDS: Final = frozenset(map(int, Kind))


def kind_name(kind: int) -> str:
    """The published name of a kind number."""
    return Kind(kind).name.lower().replace("_", ".") if kind in KINDS else "unknown"


@dataclass(frozen=True, slots=True)
class RequestOpen:
    """Kind 1: who asked, under which model, engine and sampler, with effective values."""

    caller: str = field(metadata=at(1, TEXT))
    workflow: str = field(metadata=at(2, TEXT))
    model: str = field(metadata=at(3, TEXT))
    weights_digest: bytes = field(metadata=at(4, DIGEST))
    numeric: str = field(metadata=at(5, TEXT))
    dtype: str = field(metadata=at(6, TEXT))
    fingerprint: str = field(metadata=at(7, TEXT))
    mode: str = field(metadata=at(8, TEXT))
    modes_permitted: tuple[str, ...] = field(metadata=at(9, TEXTS))
    block_length: int = field(metadata=at(10, UINT))
    threshold: float | None = field(metadata=at(11, forms.maybe(FLOAT)))
    max_steps: int = field(metadata=at(12, UINT))
    seed_first: bool = field(metadata=at(13, BOOL))
    temperature: float = field(metadata=at(14, FLOAT))
    seed: int = field(metadata=at(15, UINT))
    choice: int = field(metadata=at(16, UINT))
    max_tokens: int = field(metadata=at(17, UINT))
    prompt_tokens: int = field(metadata=at(18, UINT))
    instance: UUID = field(metadata=at(19, UUID16))
    """The gateway process that served the request."""
    dialect: str = field(metadata=at(20, TEXT))
    top_p: float = field(metadata=at(21, FLOAT))
    top_k: int = field(metadata=at(22, UINT))
    min_p: float = field(metadata=at(23, FLOAT))
    presence_penalty: float = field(metadata=at(24, FLOAT))
    frequency_penalty: float = field(metadata=at(25, FLOAT))
    repetition_penalty: float = field(metadata=at(26, FLOAT))
    top_logprobs: int = field(metadata=at(27, UINT))
    think_budget: int | None = field(metadata=at(28, forms.maybe(UINT)))
    stop_strings: tuple[str, ...] = field(metadata=at(29, TEXTS))
    stop_ids: tuple[int, ...] = field(metadata=at(30, IDS))
    constraint_kind: str = field(metadata=at(31, TEXT))
    """The language of `constraint_source`; empty when the answer is not constrained."""
    constraint_source: str = field(metadata=at(32, TEXT))
    gated: bool = field(metadata=at(33, BOOL))

    def __post_init__(self) -> None:
        if self.constraint_source and not self.constraint_kind:
            raise InvalidRecord("a constraint has a source but names no language")


@dataclass(frozen=True, slots=True)
class PromptBody:
    """Kind 2: JSON of the messages as received, and the token ids that the model was given."""

    text: str = field(metadata=at(1, TEXT))
    ids: tuple[int, ...] = field(metadata=at(2, IDS))


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Kind 3: what the law said of which facts. A refusal ends its request; `status` is then its HTTP status, else 0.

    Without `facts` the law was not asked: something else turned the request away.
    """

    outcome: str = field(metadata=at(1, TEXT))
    reason: str = field(metadata=at(2, TEXT))
    mode: str = field(metadata=at(3, TEXT))
    modes_permitted: tuple[str, ...] = field(metadata=at(4, TEXTS))
    release: str = field(metadata=at(5, TEXT))
    policy_digest: bytes = field(metadata=at(6, DIGEST))
    rules: tuple[str, ...] = field(metadata=at(7, TEXTS))
    status: int = field(metadata=at(8, UINT))
    facts: Asked | None = field(default=None, metadata=at(9, forms.maybe(forms.nested(Asked))))

    def __post_init__(self) -> None:
        if self.outcome not in ("allow", "refuse") or self.release not in ("stream", "whole"):
            raise InvalidRecord("a policy decision allows or refuses, and releases as stream or whole")


@dataclass(frozen=True, slots=True)
class SpecRoundTrace:
    """One round of self-speculation: what was drafted, what the causal pass picked, how much was kept."""

    index: int = field(metadata=at(1, UINT))
    start: int = field(metadata=at(2, UINT))
    draft: tuple[int, ...] = field(metadata=at(3, IDS))
    draft_confidence: tuple[float, ...] = field(metadata=at(4, FLOATS))
    verified: tuple[int, ...] = field(metadata=at(5, IDS))
    accepted: int = field(metadata=at(6, UINT))
    output: tuple[int, ...] = field(metadata=at(7, IDS))
    logprob: tuple[float, ...] = field(metadata=at(8, FLOATS))
    forwards: int = field(metadata=at(9, UINT))
    complete: bool = field(metadata=at(10, BOOL))


@dataclass(frozen=True, slots=True)
class SpecRounds:
    """Kind 5: consecutive rounds that were made durable together."""

    rounds: tuple[SpecRoundTrace, ...] = field(metadata=at(1, forms.sequence(forms.nested(SpecRoundTrace))))


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Kind 6: autoregressive ids of one flush with their log-probabilities."""

    start: int = field(metadata=at(1, UINT))
    output: tuple[int, ...] = field(metadata=at(2, IDS))
    logprob: tuple[float, ...] = field(metadata=at(3, FLOATS))
    forwards: int = field(metadata=at(4, UINT))


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Kind 7: the figures a quality gate saw for one unit, and its verdict with the rule that gave it.

    `block_index` counts the gated units of the request; `start` is the absolute position of the unit's first token; `mode` says
    how the unit came about; a unit that is refined is masked again below `threshold`, for `steps` steps more.
    """

    block_index: int = field(metadata=at(1, UINT))
    names: tuple[str, ...] = field(metadata=at(2, TEXTS))
    values: tuple[float, ...] = field(metadata=at(3, FLOATS))
    verdict: str = field(metadata=at(4, TEXT))
    start: int = field(metadata=at(5, UINT))
    rule: str = field(metadata=at(6, TEXT))
    mode: str = field(default="", metadata=at(7, TEXT))
    threshold: float = field(default=0.0, metadata=at(8, FLOAT))
    steps: int = field(default=0, metadata=at(9, UINT))

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values):
            raise InvalidRecord("a gate verdict has one value per metric name")


@dataclass(frozen=True, slots=True)
class EngineNote:
    """Kind 8: a fact of the engine (admitted, prefilled, aborted, fault, ...) and its detail."""

    note: str = field(metadata=at(1, TEXT))
    detail: str = field(metadata=at(2, TEXT))


@dataclass(frozen=True, slots=True)
class Delivery:
    """Kind 9: how much was handed to the client, and how that ended: complete, aborted or withheld."""

    bytes_released: int = field(metadata=at(1, UINT))
    sha256_released: bytes = field(metadata=at(2, DIGEST))
    outcome: str = field(metadata=at(3, TEXT))

    def __post_init__(self) -> None:
        if self.outcome not in ("complete", "aborted", "withheld"):
            raise InvalidRecord("a delivery is complete, aborted or withheld")


@dataclass(frozen=True, slots=True)
class RequestClose:
    """Kind 10: the declared counts of a request; the verifier holds the records against them."""

    reason: str = field(metadata=at(1, TEXT))
    prompt_tokens: int = field(metadata=at(2, UINT))
    tokens: int = field(metadata=at(3, UINT))
    blocks: int = field(metadata=at(4, UINT))
    steps: int = field(metadata=at(5, UINT))
    rounds: int = field(metadata=at(6, UINT))
    forwards: int = field(metadata=at(7, UINT))
    output_digest: bytes = field(metadata=at(8, DIGEST))
    """SHA-256 over all output ids, each as 4 big-endian bytes."""
    records: int = field(metadata=at(9, UINT))
    """Records of this request, this one included."""
    busy_us: int | None = field(default=None, metadata=at(10, forms.maybe(UINT)))
    """Microseconds that the device worked for it, as the engine measured them; None where it did not."""


@dataclass(frozen=True, slots=True)
class RequestAbandoned:
    """Kind 11: a later process found this request without an end; `last_seq` is its last record."""

    found_by: UUID = field(metadata=at(1, UUID16))
    last_seq: int = field(metadata=at(2, UINT))


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Kind 12: the likeliest tokens of consecutive output positions from `start` on, `width` per position, best first.

    They are no output: the ids of the answer are in the records of kinds 4, 5 and 6.
    """

    start: int = field(metadata=at(1, UINT))
    width: int = field(metadata=at(2, UINT))
    ids: tuple[int, ...] = field(metadata=at(3, IDS))
    logprob: tuple[float, ...] = field(metadata=at(4, FLOATS))

    def __post_init__(self) -> None:
        if self.width < 1 or len(self.ids) % self.width or len(self.ids) != len(self.logprob):
            raise InvalidRecord("alternatives have one id and one log-probability per position and rank")


Body: TypeAlias = (
    RequestOpen | PromptBody | PolicyDecision | BlockTrace | SpecRounds | DecodeRun
    | GateVerdict | EngineNote | Delivery | RequestClose | RequestAbandoned | Alternatives | ReleaseDecision | Approval | Act
)  # fmt: skip

BODIES: dict[Kind, type[Body]] = {
    Kind.REQUEST_OPEN: RequestOpen, Kind.PROMPT_BODY: PromptBody, Kind.POLICY_DECISION: PolicyDecision,
    Kind.BLOCK: BlockTrace, Kind.SPEC_ROUNDS: SpecRounds, Kind.DECODE_RUN: DecodeRun, Kind.GATE: GateVerdict,
    Kind.ENGINE_NOTE: EngineNote, Kind.DELIVERY: Delivery, Kind.REQUEST_CLOSE: RequestClose,
    Kind.REQUEST_ABANDONED: RequestAbandoned, Kind.ALTERNATIVES: Alternatives,
    Kind.RELEASE_DECISION: ReleaseDecision,
    Kind.APPROVAL_OPENED: ApprovalOpened, Kind.APPROVAL_DECIDED: ApprovalDecided, Kind.APPROVAL_REVOKED: ApprovalRevoked,
    Kind.APPROVAL_VOIDED: ApprovalVoided, Kind.APPROVAL_ENDED: ApprovalEnded, Kind.APPROVED_DELIVERY: ApprovedDelivery,
    Kind.ATTACHED: Attached, Kind.DELEGATION: Delegation, Kind.RESULT_ATTACHED: ResultAttached,
    Kind.AFTER_RELEASE: AfterRelease,
    Kind.POLICY_CHANGE: PolicyChange, Kind.KEY_CHANGE: KeyChange, Kind.ERASURE: Erasure,
    Kind.HOLD_PLACED: HoldPlaced, Kind.HOLD_RELEASED: HoldReleased, Kind.RETENTION_RULE: RetentionRule,
    Kind.RETIREMENT: Retirement, Kind.ACCESS: Access, Kind.EXPORT: Export, Kind.SCHEMA_CHANGE: SchemaChange,
    Kind.ERASURE_REFUSED: ErasureRefused, Kind.TENANT_MADE: TenantMade, Kind.USER_CHANGE: UserChange,
    Kind.KEY_TERMS: KeyTerms, Kind.PASSKEY_CHANGE: PasskeyChange,
    Kind.ANCHORED: Anchored,
}  # fmt: skip
_KINDS = {body: kind for kind, body in BODIES.items()}


def kind_of(body: Body) -> Kind:
    """The kind number of a body."""
    return _KINDS[type(body)]


def schema_of(kind: int) -> int:
    """The schema in which a kind is written."""
    return BLOCK_SCHEMA if kind == Kind.BLOCK else SCHEMA


def is_known(kind: int, schema: int) -> bool:
    """Whether `decode_body` can read this kind in this schema."""
    return kind in KINDS and 1 <= schema <= schema_of(kind)


def encode_body(body: Body) -> bytes:
    """Deterministic CBOR of a body (plaintext) in the schema of its kind; raises InvalidRecord for a field out of its form."""
    data = write_fourth(body) if isinstance(body, BlockTrace) else forms.write(body)
    if len(data) > cbor.MAX_BYTES:
        raise InvalidRecord(f"{len(data)} bytes of CBOR; split the record, at most {cbor.MAX_BYTES} are written")
    return data


def decode_body(kind: int, schema: int, data: bytes) -> Body:
    """The body of plaintext bytes; raises MalformedData for an unknown kind, schema or spelling."""
    if not is_known(kind, schema):
        unknown = f"schema {schema} of kind {kind}" if kind in KINDS else f"record kind {kind}"
        raise MalformedData(f"{unknown} is unknown here; use a newer verifier")
    value = cbor.decode(data)
    return _BLOCKS[schema](value) if kind == Kind.BLOCK else forms.unpack(BODIES[Kind(kind)], value)
