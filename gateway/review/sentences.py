"""What happened in a frame, in one spoken sentence each. Model text stands in it in quotation marks, on one line, as text."""

from __future__ import annotations

from audit.records import GateVerdict
from gateway.review.marks import probability
from gateway.review.stages import Denoised, Frame, Round, Run, Scored, Stage
from gateway.review.words import Words


def heading(stage: Stage, frame: Frame, stages: int) -> str:
    """Where the frame is: which stage of how many, which frame of how many."""
    number = 1 + frame.number - stage.frames[0].number
    name = "Block" if stage.block is not None else "Stretch"
    return f"{name} {stage.number} of {stages}, step {number} of {len(stage.frames)}"


def sentence(stage: Stage, frame: Frame, words: Words) -> str:
    """What the frame did; with the last of a stage what the gate ruled."""
    match frame:
        case Denoised():
            told = _denoised(frame, words)
        case Scored():
            told = _scored(frame, words)
        case Round():
            told = _round(frame, words)
        case Run():
            told = _run(frame, words)
    if stage.verdict is not None and frame is stage.frames[-1]:
        told = f"{told}; {ruled(stage.verdict)}"
    return told


def _denoised(frame: Denoised, words: Words) -> str:
    step = frame.step
    kept = [place for place, committed in enumerate(step.committed) if committed]
    open_places = sum(step.masked)
    if not kept:
        return f"kept none of {open_places} open places"
    told = f"kept {len(kept)} of {_counted(open_places, 'open place')}"
    least = min(kept, key=step.confidence.__getitem__)
    if len(kept) == 1:
        return f"{told}, {_quoted(step.proposal[least], words)} at {step.confidence[least]:.2f}"
    return f"{told}, least sure of {_quoted(step.proposal[least], words)} at {step.confidence[least]:.2f}"


def _scored(frame: Scored, words: Words) -> str:
    block = frame.block
    count = block.emitted or len(block.tokens)
    agreed = sum(block.agreement[:count])
    least = min(range(count), key=block.verifier_logprob.__getitem__)
    sure = probability(block.verifier_logprob[least])
    told = f"the causal pass would have picked {agreed} of {_counted(count, 'token')} too"
    return f"{told}, least likely to it is {_quoted(block.tokens[least], words)} at {sure:.2f}"


def _round(frame: Round, words: Words) -> str:
    told, rejected = frame.told, frame.rejected
    if not told.complete:
        return f"drafted {_counted(frame.drafted, 'token')}, and the generation ended before they were verified"
    if not frame.drafted:
        return "drafted nothing; the verifier went on by itself"
    kept = f"kept {frame.guessed} of {frame.drafted} drafted"
    if rejected is None or frame.correction is None:
        return f"verifier {kept}"
    draft, correction = _quoted(told.draft[rejected], words), _quoted(frame.correction, words)
    return f"verifier {kept} and replaced {draft} by {correction}{_odds(frame, rejected)}"


def _odds(frame: Round, rejected: int) -> str:
    """From the drafter's confidence to the verifier's, where the round has output the correction."""
    told, place = frame.told, rejected - frame.ahead
    before = f" at {told.draft_confidence[rejected]:.2f}"
    return f"{before} -> {probability(told.logprob[place]):.2f}" if place < len(told.logprob) else before


def _run(frame: Run, words: Words) -> str:
    run = frame.told
    least = min(range(len(run.output)), key=run.logprob.__getitem__)
    sure = f"{_quoted(run.output[least], words)} at {probability(run.logprob[least]):.2f}"
    if len(run.output) == 1:
        return f"picked {sure}"
    return f"decoded {len(run.output)} tokens one by one, least sure of {sure}"


def ruled(verdict: GateVerdict) -> str:
    """A gate's ruling on a unit."""
    by = f" by {verdict.rule}" if verdict.rule else ""
    match verdict.verdict:
        case "accept":
            return f"the gate let it pass{by}"
        case "refine":
            return f"the gate had everything below {verdict.threshold:.2f} drafted again{by}"
        case "redo_ar":
            return f"the gate had it decoded again one by one{by}"
        case "hold":
            return f"the gate holds it for a person{by}"
        case _:
            return f"the gate blocked it{by}"


def _quoted(token: int, words: Words) -> str:
    return f"“{words.of(token)}”"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
