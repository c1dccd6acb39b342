"""What travels from a generation to its client: released text, then one end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from audit.approvals import ApprovalOpened
from gateway.errors import GatewayError
from gateway.evidence import RecordProof
from gateway.scores import TokenScore


@dataclass(frozen=True, slots=True)
class Text:
    """Model text that the client may have, and the scores of the tokens that are complete with it."""

    text: str
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """That people let an answer go: which approval it was, over which bytes, and whether one of them wrote it."""

    id: UUID
    content_sha256: str
    edited: bool

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        author = {"author": "reviewer"} if self.edited else {}
        return {"id": str(self.id), "content_sha256": self.content_sha256} | author


@dataclass(frozen=True, slots=True)
class Account:
    """What a finished generation tells its client about itself; the records say the same and more.

    `first_seq` and `last_seq` are the lowest and highest sequence number of this request's records in the tenant's log;
    `proof` is that of the last, if it was asked for and a checkpoint came in time. `cached_tokens` are those of the prompt that
    were in the cache; `stop` is the stop string that ended the text, if one did.
    """

    generation: UUID
    mode: str
    policy_digest: str
    block_length: int
    seed: int
    prompt_tokens: int
    completion_tokens: int
    forwards: int
    records: int
    first_seq: int
    last_seq: int
    reason: str
    annotations: tuple[str, ...] = ()
    """Labels of the rules and gates of the policy that remark on this answer."""
    cached_tokens: int = 0
    stop: str | None = None
    proof: RecordProof | None = None
    approval: Approval | None = None

    def extension(self) -> dict[str, Any]:
        """The `palimpsest` object. Tokens per forward of one generation = its tokens / its forwards (0 if none)."""
        proof = {} if self.proof is None else {"proof": self.proof.document()}
        remarks = {"annotations": list(self.annotations)} if self.annotations else {}
        approval = {} if self.approval is None else {"approval": self.approval.document()}
        return (
            proof
            | remarks
            | approval
            | {
                "generation_id": str(self.generation),
                "mode": self.mode,
                "policy": self.policy_digest,
                "block_length": self.block_length,
                "seed": self.seed,
                "forwards": self.forwards,
                "tokens_per_forward": self.completion_tokens / self.forwards if self.forwards else 0.0,
                "records": self.records,
                "first_seq": self.first_seq,
                "last_seq": self.last_seq,
            }
        )


def usage_of(accounts: Sequence[Account]) -> dict[str, Any]:
    """OpenAI's usage object for the answers to one prompt, which counts once."""
    return usage(accounts[0].prompt_tokens, sum(account.completion_tokens for account in accounts), accounts[0].cached_tokens)


def usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete and so are its records."""

    account: Account


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer ends here, in error."""

    error: GatewayError


@dataclass(frozen=True, slots=True)
class Held:
    """The answer is complete, and people decide whether it leaves: what the client gets is told by `handover.py`."""

    tenant: str
    generation: UUID
    opened: ApprovalOpened


Piece = Text | Ended | Failed
"""What a client gets."""
Made = Piece | Held
"""What comes of a generation."""


def joined(pieces: Iterable[Text]) -> Text:
    """Neighbouring pieces as one."""
    parts = list(pieces)
    return Text("".join(part.text for part in parts), tuple(score for part in parts for score in part.scores))
