"""What tables and security monitors may know of a body: states, counts and ids from closed vocabularies, never content."""

from __future__ import annotations

from typing import TypeAlias

from audit.acts import Export, KeyChange, UserChange
from audit.approvals import (
    AfterRelease,
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
from audit.approvals import Approval as ApprovalBody
from audit.judgements import ReleaseDecision
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    Delivery,
    EngineNote,
    GateVerdict,
    PolicyDecision,
    PromptBody,
    RequestClose,
    RequestOpen,
    SpecRounds,
)

Figures: TypeAlias = dict[str, str | int]

WORDS = ("state", "mode", "model", "rule")
COUNTS = (
    "status", "index", "prompt_tokens", "tokens", "drafted", "blocks", "steps", "rounds", "forwards", "bytes_released",
    "busy_us",
)  # fmt: skip


def figures(body: Body | None) -> Figures:
    """The figures of a body, under names of WORDS and COUNTS; empty for one that is not shown or has none.

    Texts that people or models wrote (reasons, details, prompts, stop strings, labels) are never among them.
    """
    match body:
        case RequestOpen():
            return {"mode": body.mode, "model": body.model, "prompt_tokens": body.prompt_tokens}
        case PromptBody():
            return {"prompt_tokens": len(body.ids)}
        case PolicyDecision():
            return {"state": body.outcome, "mode": body.mode, "rule": ",".join(body.rules), "status": body.status}
        case GateVerdict():
            return {"state": body.verdict, "rule": body.rule, "index": body.block_index}
        case ReleaseDecision():
            return {"state": body.verdict, "rule": ",".join(body.rules)}
        case EngineNote():
            return {"state": body.note}
        case Delivery():
            return {"state": body.outcome, "bytes_released": body.bytes_released}
        case RequestClose():
            return _closed(body)
        case KeyChange() | UserChange():
            return {"state": body.act}
        case Export():
            return {"state": body.disclosed}
        case _ if isinstance(body, ApprovalBody):
            return _approval(body)
        case _:
            return _output(body)


def _approval(body: ApprovalBody) -> Figures:
    match body:
        case ApprovalOpened():
            return {"state": "pending", "rule": ",".join(needed.approval for needed in body.needed), "index": body.cycle}
        case ApprovalDecided():
            broke = body.method == "break_glass"
            return {"state": "break_glass" if broke else body.decision, "rule": body.meaning, "index": body.cycle}
        case ApprovalRevoked():
            return {"state": "revoked", "index": body.cycle}
        case ApprovalVoided():
            return {"state": "void", "rule": body.why, "index": body.cycle}
        case ApprovalEnded():
            why = "break_glass" if body.broke_glass else body.why
            return {"state": body.outcome, "rule": why, "index": body.cycle}
        case ApprovedDelivery():
            return {"state": "complete", "bytes_released": body.bytes_released}
        case Attached():
            return {"state": "attached"}
        case Delegation():
            return {"state": "revoked" if body.revoked else "lent"}
        case ResultAttached():
            return {"state": "passed" if body.passed else "failed", "index": body.cycle}
        case AfterRelease():
            return {"state": body.act}


def _closed(body: RequestClose) -> Figures:
    return {
        "state": body.reason, "prompt_tokens": body.prompt_tokens, "tokens": body.tokens, "blocks": body.blocks,
        "steps": body.steps, "rounds": body.rounds, "forwards": body.forwards,
        **({} if body.busy_us is None else {"busy_us": body.busy_us}),
    }  # fmt: skip


def _output(body: Body | None) -> Figures:
    match body:
        case BlockTrace():
            return {
                "state": "complete" if body.complete else "unfinished", "index": body.index, "tokens": body.emitted,
                "drafted": len(body.tokens), "steps": body.steps.steps, "forwards": body.forwards,
            }  # fmt: skip
        case SpecRounds():
            return {
                "rounds": len(body.rounds), "tokens": sum(len(each.output) for each in body.rounds),
                "drafted": sum(len(each.draft) for each in body.rounds),
                "forwards": sum(each.forwards for each in body.rounds),
            }  # fmt: skip
        case DecodeRun():
            return {"tokens": len(body.output), "forwards": body.forwards}
        case _:
            return {}
