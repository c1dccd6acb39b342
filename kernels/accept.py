"""What becomes of a pass: which proposals a block keeps, which drafts hold, where an answer ends; one event record a sequence.

`select` is one denoising step: the most certain masked positions are kept, at least `least` of them and all that reach the
threshold, the lowest position first among equals. `accept` is one linear verification: the drafts before the first that the
causal pass would not have written hold, its own pick after them too, up to a stop id or the end of the budget. What a host
tells of it later is in the record, so a pass needs no other copy.
Legend: S sequences, B positions of a block, at most 32, K stop ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.jit import Build, jit, room, tl, within_reach

BLOCK_MOST = 32
GOES_ON, STOPPED, SPENT = 0, 1, 2
"""Why an answer ends with this pass: not at all, at a stop id, at the end of its budget."""
NO_STOP = -1
"""Fills up a list of stop ids."""


def select_reference(
    tokens: Tensor, masked: Tensor, proposal: Tensor, logprob: Tensor, threshold: Tensor, least: Tensor, stops: Tensor
) -> Tensor:
    """The definition: one denoising step over `tokens` [S, B], which is updated, and its record int32 [S, 3 + 2 B].

    `masked` bool [S, B], which is updated; `proposal` int32 and `logprob` float32 [S, B]; `threshold` float32 and `least` int32
    [S]; `stops` int32 [S, K]. A record: bits masked before, bits kept, 1 if denoising must go on, the proposals, and the bits
    of the confidences (0 where nothing was masked). It goes on while a position is masked and no stop id stands before it.
    """
    records = torch.zeros(len(tokens), 3 + 2 * tokens.shape[1], dtype=torch.int32)
    for index, (row, left) in enumerate(zip(tokens, masked, strict=True)):
        before = left.clone()
        proposed = torch.where(before, proposal[index], row)
        confidence = torch.where(before, logprob[index].exp(), 0.0)
        due = max(int(least[index]), int((before & (confidence >= threshold[index])).sum()))
        ranked = sorted(before.nonzero().flatten().tolist(), key=lambda place: (-float(confidence[place]), place))
        chosen = torch.zeros_like(before)
        chosen[ranked[:due]] = True
        row.copy_(torch.where(chosen, proposed, row))
        left.copy_(before & ~chosen)
        known = row.tolist()[: left.tolist().index(True)] if left.any() else []
        goes_on = bool(left.any()) and set(known).isdisjoint(stops[index].tolist())
        head = torch.tensor([_bits(before), _bits(chosen), int(goes_on)], dtype=torch.int32)
        records[index] = torch.cat((head, proposed, confidence.view(torch.int32)))
    return records


def accept_reference(
    draft: Tensor, sizes: Tensor, verified: Tensor, logprob: Tensor, room_left: Tensor, stops: Tensor, committed: Tensor
) -> Tensor:
    """The definition: one verification of `draft` [S, B], the seed in front, and its record int32 [S, 4 + 2 B].

    `sizes` [S] positions of each draft are real; `verified` int32 and `logprob` float32 [S, B] are the causal picks after each
    of them; `room_left` [S] tokens may still be output, at least 1; `stops` [S, K]; `committed` [S] grows by what is output.
    A record: drafts that hold, tokens output, why it ends, the next seed, the picks, and the bits of their log-probabilities.
    """
    records = torch.zeros(len(draft), 4 + 2 * draft.shape[1], dtype=torch.int32)
    for index in range(len(draft)):
        size, budget = int(sizes[index]), int(room_left[index])
        wanted, drafted = verified[index, :size].tolist(), draft[index, 1:size].tolist()
        held = next((place for place, token in enumerate(drafted) if token != wanted[place]), size - 1)
        ending = set(stops[index].tolist()) - {NO_STOP}
        output = wanted[: held + 1][:budget]
        stop = next((place for place, token in enumerate(output) if token in ending), None)
        if stop is not None:
            count, why = stop + 1, STOPPED
        else:
            count, why = len(output), SPENT if len(output) == budget else GOES_ON
        committed[index] += count
        head = torch.tensor([held, count, why, wanted[held]], dtype=torch.int32)
        records[index] = torch.cat((head, verified[index], logprob[index].view(torch.int32)))
    return records


def _bits(chosen: Tensor) -> int:
    """Bit i for position i, as a signed 32-bit number."""
    found: int = sum(1 << place for place in chosen.nonzero().flatten().tolist())
    return found - (1 << 32) if found >> 31 else found


@jit
def _is_stop(token: tl.tensor, stops: tl.tensor, width: tl.constexpr) -> tl.tensor:
    # Whether each token is in a list.
    found = token != token  # noqa: PLR0124 - a tensor of False
    for place in range(width):
        found = found | (token == tl.load(stops + place))
    return found


@jit
def _select(
    tokens: tl.tensor,
    masked: tl.tensor,
    proposals: tl.tensor,
    logprobs: tl.tensor,
    thresholds: tl.tensor,
    leasts: tl.tensor,
    stops: tl.tensor,
    records: tl.tensor,
    block: tl.constexpr,
    width: tl.constexpr,
    lanes: tl.constexpr,
) -> None:
    sequence, lane = tl.program_id(0), tl.arange(0, lanes)
    inside = lane < block
    place = sequence * block + lane
    hidden = tl.load(masked + place, mask=inside, other=0) != 0
    old = tl.load(tokens + place, mask=inside, other=0)
    proposal = tl.where(hidden, tl.load(proposals + place, mask=inside, other=0), old)
    confidence = tl.where(hidden, tl.exp(tl.load(logprobs + place, mask=inside, other=0.0)), 0.0)
    sure = hidden & (confidence >= tl.load(thresholds + sequence))
    due = tl.maximum(tl.load(leasts + sequence), tl.sum(sure.to(tl.int32), 0))
    # The rank of a position is the number of masked ones before it in order of confidence.
    other = tl.expand_dims(confidence, 0)
    own = tl.expand_dims(confidence, 1)
    ahead = (other > own) | ((other == own) & (lane[None, :] < lane[:, None]))
    rank = tl.sum((ahead & hidden[None, :]).to(tl.int32), 1)
    chosen = hidden & (rank < due)
    kept = tl.where(chosen, proposal, old)
    tl.store(tokens + place, kept, mask=inside)
    left = hidden & (chosen == 0)
    tl.store(masked + place, left.to(masked.dtype.element_ty), mask=inside)
    first = tl.min(tl.where(left, lane, lanes), 0)
    ends = _is_stop(kept, stops + sequence * width, width) & inside & (lane < first)
    goes_on = tl.where(first < lanes, 1, 0) - tl.where(first < lanes, tl.max(ends.to(tl.int32), 0), 0)
    record = records + sequence * (3 + 2 * block)
    bit = tl.where(lane < 32, 1, 0) << lane
    tl.store(record, tl.sum(tl.where(hidden, bit, 0), 0))
    tl.store(record + 1, tl.sum(tl.where(chosen, bit, 0), 0))
    tl.store(record + 2, goes_on)
    tl.store(record + 3 + lane, proposal, mask=inside)
    tl.store(record + 3 + block + lane, confidence.to(tl.int32, bitcast=True), mask=inside)


@jit
def _accept(
    drafts: tl.tensor,
    sizes: tl.tensor,
    verified: tl.tensor,
    logprobs: tl.tensor,
    rooms: tl.tensor,
    stops: tl.tensor,
    committed: tl.tensor,
    records: tl.tensor,
    block: tl.constexpr,
    width: tl.constexpr,
    lanes: tl.constexpr,
) -> None:
    sequence, lane = tl.program_id(0), tl.arange(0, lanes)
    inside = lane < block
    place = sequence * block + lane
    size, budget = tl.load(sizes + sequence), tl.load(rooms + sequence)
    pick = tl.load(verified + place, mask=inside, other=-1)
    following = tl.load(drafts + place + 1, mask=lane + 1 < size, other=-1)
    held = tl.min(tl.where((lane + 1 < size) & (pick == following), lanes, lane), 0)
    output = tl.minimum(held + 1, budget)
    ends = _is_stop(pick, stops + sequence * width, width) & (lane < output)
    stop = tl.min(tl.where(ends, lane, lanes), 0)
    count = tl.minimum(stop + 1, output)
    why = tl.where(stop < lanes, 1, tl.where(output == budget, 2, 0))
    record = records + sequence * (4 + 2 * block)
    tl.store(record, held)
    tl.store(record + 1, count)
    tl.store(record + 2, why)
    tl.store(record + 3, tl.sum(tl.where(lane == held, pick, 0), 0))
    tl.store(record + 4 + lane, pick, mask=inside)
    logprob = tl.load(logprobs + place, mask=inside, other=0.0)
    tl.store(record + 4 + block + lane, logprob.to(tl.int32, bitcast=True), mask=inside)
    tl.store(committed + sequence, tl.load(committed + sequence) + count)


def builds(block: int, width: int) -> tuple[Build, Build]:
    """Selection and acceptance for blocks of so many positions and so many stop ids; a warp has a lane for each position."""
    shape = {"block": block, "width": width, "lanes": room(block)}
    return Build(_select, shape, warps=1), Build(_accept, shape, warps=1)


def kernel_select(
    tokens: Tensor, masked: Tensor, proposal: Tensor, logprob: Tensor, threshold: Tensor, least: Tensor, stops: Tensor
) -> Tensor:
    """The definition of a denoising step by the kernel, one sequence a program."""
    sequences, block = tokens.shape
    records = torch.empty(sequences, 3 + 2 * block, dtype=torch.int32, device=tokens.device)
    chosen, _ = builds(block, stops.shape[1])
    chosen.launch((sequences,), tokens, masked, proposal, logprob, threshold, least, stops, records)
    return records


def kernel_accept(
    draft: Tensor, sizes: Tensor, verified: Tensor, logprob: Tensor, room_left: Tensor, stops: Tensor, committed: Tensor
) -> Tensor:
    """The definition of a verification by the kernel, one sequence a program."""
    sequences, block = draft.shape
    records = torch.empty(sequences, 4 + 2 * block, dtype=torch.int32, device=draft.device)
    _, held = builds(block, stops.shape[1])
    held.launch((sequences,), draft, sizes, verified, logprob, room_left, stops, committed, records)
    return records


def select(
    tokens: Tensor, masked: Tensor, proposal: Tensor, logprob: Tensor, threshold: Tensor, least: Tensor, stops: Tensor
) -> Tensor:
    """One denoising step, as `select_reference` says it."""
    chosen = kernel_select if within_reach(tokens) else select_reference
    return chosen(tokens, masked, proposal, logprob, threshold, least, stops)


def accept(
    draft: Tensor, sizes: Tensor, verified: Tensor, logprob: Tensor, room_left: Tensor, stops: Tensor, committed: Tensor
) -> Tensor:
    """One verification, as `accept_reference` says it."""
    held = kernel_accept if within_reach(draft) else accept_reference
    return held(draft, sizes, verified, logprob, room_left, stops, committed)
