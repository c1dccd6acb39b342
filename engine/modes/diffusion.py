"""Block diffusion: denoise a block bidirectionally, then commit it with one causal pass.

Each denoise step proposes a token for every masked position and keeps the confident ones; masked-ness is a bit per
position. The causal pass writes the block's keys and values above what is committed, scores every token of it, and seeds the
next block. Only then does the gate rule, and only then is the block committed, refined, or decoded again in `ar`.
"""

from __future__ import annotations

from collections.abc import Generator

from engine.events import NoteKind
from engine.gates import Verdict
from engine.modes.ar import Run, stretch
from engine.modes.block import Block
from engine.plan import NO_SOURCE, Lora, Step, clean, noisy, noisy_frame
from engine.request import Mode
from engine.sampling import Picks
from engine.session import Session


def diffusion(session: Session, first: Picks) -> Generator[Step, Picks, None]:
    """Decode block by block; `first` is the pick after the prompt."""
    prior = first
    while session.ended is None:
        prior = yield from _block(session, prior)


def _block(session: Session, prior: Picks) -> Generator[Step, Picks, Picks]:
    """Denoise, score and judge one block until it is settled; `prior` and the result are the picks after a block."""
    block = Block(session, prior)
    while True:
        with session.interrupted(block.unfinished):
            picks = yield from _denoise(session, block)
            judged = session.judge(block.facts)
        if judged is None or judged.verdict not in (Verdict.REFINE, Verdict.REDO_AR):
            following = _settle(session, block, picks)
            session.ruled(judged)
            return following
        session.emit(block.event(emitted=0))
        session.ruled(judged)
        if judged.verdict is Verdict.REDO_AR:
            return (yield from _redo(session, prior))
        block.refine(judged.threshold, judged.steps)


def _denoise(session: Session, block: Block) -> Generator[Step, Picks, Picks]:
    """Noisy passes until no mask is left, then the causal pass; returns its picks."""
    while masks := block.unresolved():
        block.denoise(masks, (yield noisy(block.tokens, Lora.OFF, only=tuple(masks))))
    block.fill()
    picks = yield clean(block.tokens, targets=(*block.tokens[1:], 0), follow=_next_block(session))
    block.score(picks)
    return picks


def _next_block(session: Session) -> tuple[Step, ...]:
    """The first denoising step of the block behind this one, if the answer has room for it: its seed is picked by this pass."""
    size, masks = session.request.block_length, session.mask_id
    if not session.ahead or session.room <= size:
        return ()
    seeded = session.request.seed_first
    picked = (size - 1 if seeded else NO_SOURCE, *(NO_SOURCE,) * (size - 1))
    only = tuple(range(seeded, size))
    return (Step((masks,) * size, noisy_frame(size, Lora.OFF), sources=picked, only=only, kept=size),)


def _settle(session: Session, block: Block, picks: Picks) -> Picks:
    """The block stands: its leading tokens are output, its keys and values are committed."""
    kept = session.take(block.tokens)
    session.commit(kept)
    session.alternatives((block.prior, picks), kept)
    session.emit(block.event(emitted=kept))
    return picks.part(len(picks.ids) - 1)


def _redo(session: Session, prior: Picks) -> Generator[Step, Picks, Picks]:
    """The block's place is decoded autoregressively; what the rejected block wrote there is overwritten."""
    session.note(NoteKind.ROLLBACK, f"the block at {session.committed} is decoded again in {Mode.AR}")
    size = session.request.block_length
    with Run(session, size + 1) as run:  # told as one, with the pass that commits its last token
        seed = yield from stretch(session, run, run.add(prior), size - 1)
        if session.ended is not None:
            return prior
        picks = yield clean((seed,))
        session.commit(1)
    session.judge_unit()
    return picks
