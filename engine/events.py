"""Everything the engine says about a generation, in the order in which it happened.

The output of a generation is the concatenation of `.output` of its BlockDecoded, SpecRound and RunDecoded events; nothing
else is needed to rebuild the text. Arrays are tuples; floats already hold their recorded (float32) value. `forwards` counts the
network passes after prefill in which the generation had rows. `complete` is False on the last event of a generation that was
aborted or failed in the middle of a block or round.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from engine.gates import Verdict
from engine.request import GenerationRequest


def octets(ids: Sequence[int]) -> bytes:
    """Ids as digests read them: four bytes each, big-endian."""
    return struct.pack(f">{len(ids)}I", *ids)


def leading_matches(drafted: Sequence[int], wanted: Sequence[int]) -> int:
    """How many leading drafts equal what the verifier wants at their positions; none where it was not asked."""
    for index, (left, right) in enumerate(zip(drafted, wanted, strict=False)):
        if left != right:
            return index
    return min(len(drafted), len(wanted))


class NoteKind(StrEnum):
    """Why the engine wrote a note."""

    ABORTED = "aborted"
    FAULT = "fault"
    ROLLBACK = "rollback"
    MODE_SWITCH = "mode_switch"
    PREEMPTED = "preempted"
    RESUMED = "resumed"


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    BLOCKED = "blocked"
    ABORTED = "aborted"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The generation began: all that, with the weights, decides its tokens. `numeric`, `fingerprint` and `dtype` say how."""

    request: GenerationRequest
    numeric: str
    fingerprint: str
    dtype: str

    @property
    def generation(self) -> UUID:
        """The request's id."""
        return self.request.id


@dataclass(frozen=True, slots=True)
class Prefilled:
    """The prompt's `tokens` are in the cache after `passes` causal passes (not counted as forwards).

    The first `cached` of them were there already, from an earlier prompt with the same beginning.
    """

    generation: UUID
    tokens: int
    cached: int
    passes: int


@dataclass(frozen=True, slots=True)
class DenoiseStep:
    """One bidirectional pass over a block, all tuples B long.

    `masked` is the state before the step; `proposal` and `confidence` (raw softmax probability) speak for masked
    positions, elsewhere they hold the known token and 0; `committed` marks the proposals that were kept.
    """

    masked: tuple[bool, ...]
    proposal: tuple[int, ...]
    confidence: tuple[float, ...]
    committed: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class BlockDecoded:
    """A diffusion block at absolute position `start`, with all its denoise steps and the causal pass's opinion of it.

    `commit_confidence` is the confidence at which each token was committed (1 for a seeded position, 0 for one that was
    never committed because a stop id came first). `verifier_logprob[i]` is the causal log-probability of `tokens[i]`
    at temperature 1; `agreement[i]` says that the causal pick would have been the same. `emitted` leading tokens are output.
    An incomplete block has no verifier values, and ids of positions that are still masked are the mask id.
    """

    generation: UUID
    index: int
    start: int
    seeded: bool
    steps: tuple[DenoiseStep, ...]
    tokens: tuple[int, ...]
    commit_confidence: tuple[float, ...]
    verifier_logprob: tuple[float, ...]
    agreement: tuple[bool, ...]
    emitted: int
    forwards: int
    complete: bool

    @property
    def output(self) -> tuple[int, ...]:
        """The ids that this block adds to the answer."""
        return self.tokens[: self.emitted]


@dataclass(frozen=True, slots=True)
class SpecRound:
    """One draft and its verification, at absolute position `start` of `draft[0]`.

    Linear: `draft[0]` is the seed, already output; `accepted` counts matched drafts m and the output is the m matches and
    one causal token. Quadratic: `draft[0]` is the causal pick of the pass before; `accepted` counts the leading drafts that
    are output, and the causal token after them is output too when it ends the answer. `draft_confidence[0]` is 1. `verified[i]`
    is the causal pick after `draft[i]`. `logprob` is the verifier's, at temperature 1, per output id.
    """

    generation: UUID
    index: int
    start: int
    draft: tuple[int, ...]
    draft_confidence: tuple[float, ...]
    verified: tuple[int, ...]
    accepted: int
    output: tuple[int, ...]
    logprob: tuple[float, ...]
    forwards: int
    complete: bool

    @property
    def matched(self) -> int:
        """How many drafts hold of those that were guessed, which are all but the first; the same figure in both modes."""
        return leading_matches(self.draft[1:], self.verified)


@dataclass(frozen=True, slots=True)
class RunDecoded:
    """Causal tokens from absolute position `start` on; the first token of a generation comes from prefill, at 0 forwards.

    A run without tokens tells of passes that ended in a fault before they gave one.
    """

    generation: UUID
    start: int
    output: tuple[int, ...]
    logprob: tuple[float, ...]
    forwards: int


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The likeliest tokens of n output positions from absolute position `start` on, said before the event that outputs them.

    `ids` and `logprob` hold `width` values per position, best first: raw log-probabilities at temperature 1.
    """

    generation: UUID
    start: int
    width: int
    ids: tuple[int, ...]
    logprob: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate saw of one block (`names` and `values`, as recorded) and ruled; said after the block's own event.

    `block` counts the gated units of the generation, `start` is the absolute position of its first token, `mode` how it came
    about. A unit that is refined is masked again below `threshold`, for `steps` steps more. So a gate can be asked again.
    """

    generation: UUID
    block: int
    start: int
    names: tuple[str, ...]
    values: tuple[float, ...]
    verdict: Verdict
    rule: str
    mode: str
    threshold: float
    steps: int


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that is not a token but belongs to the record."""

    generation: UUID
    note: NoteKind
    detail: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every admitted generation: totals over its events.

    `output_digest` is SHA-256 in hex over all output ids, four bytes each, big-endian. `busy_us` are the microseconds that the
    device worked for it: of every pass, prefill too, the share of its rows; None where the engine is not there to say. Equal
    generations need not take equally long, so it is not compared.
    """

    generation: UUID
    reason: FinishReason
    prompt_tokens: int
    tokens: int
    blocks: int
    steps: int
    rounds: int
    forwards: int
    output_digest: str
    busy_us: int | None = field(compare=False)


Output = BlockDecoded | SpecRound | RunDecoded
"""The events that add ids to the answer; each has them as `.output`."""
Event = Admitted | Prefilled | Output | Alternatives | Gated | Noted | Finished
