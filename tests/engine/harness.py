"""What engine tests share: a loaded random model, requests with short names, runs, and a way to play the drafter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.engine import Engine
from engine.events import Event, Finished, FinishReason, Noted, NoteKind, Output
from engine.library import run
from engine.model.checkpoint import LoadedModel
from engine.model.network import Network
from engine.model.weights import Weights
from engine.modes import decode
from engine.numeric import STRICT
from engine.pages import PagePool
from engine.plan import Flag, Plan
from engine.request import GenerationRequest, Mode, Sampling
from engine.rules import RowRules
from engine.sampling import Logits, sample
from engine.session import Session
from engine.stops import Stops
from engine.tokenizer import Tokenizer
from engine.train import vocabulary
from tests.engine.small import small_network

EXACT_MODES = (Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC)
MODES = tuple(mode for mode in Mode if mode is not Mode.AUTO)
"""The ways to decode; `auto` is a choice among them."""
SAMPLING = tuple(field.name for field in fields(Sampling))


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """A real tokenizer; the engine never uses it, but a loaded model has one."""
    return Tokenizer(json.loads(vocabulary.train(400).to_str()))


def loaded(network: Network) -> LoadedModel:
    """`network` as a checkpoint would give it."""
    return LoadedModel("random", network.config, network, tokenizer(), "0" * 64)


@lru_cache(maxsize=8)
def model(seed: int = 0, vocab_size: int = 128, lora: bool = True, spread: float = 8.0) -> LoadedModel:
    """A small random model, the same for equal arguments; tests must not write to it."""
    return loaded(small_network(seed, vocab_size, lora=lora, spread=spread))


def asked(mode: Mode, prompt: Sequence[int] = (1, 5, 9), tokens: int = 24, **changes: Any) -> GenerationRequest:
    """A request; `block`, `stop` and every field of `Sampling` may be given by name."""
    block = changes.pop("block", 8)
    sampling = {name: changes.pop(name) for name in SAMPLING if name in changes}
    given: dict[str, Any] = {
        "id": uuid4(),
        "prompt": tuple(prompt),
        "mode": mode,
        "modes_permitted": frozenset(MODES),
        "max_tokens": tokens,
        "sampling": Sampling(**({"temperature": 0.0, "seed": 7} | sampling)),
        "block_length": block,
        "threshold": 0.9,
        "max_steps": block,
        "seed_first": True,
        "stop_ids": frozenset(changes.pop("stop", ())),
    }
    return GenerationRequest(**(given | changes))


def events_of(engine: Engine, *requests: GenerationRequest) -> dict[UUID, list[Event]]:
    """Run `requests` together to their end; their events, in order, by generation."""
    for request in requests:
        engine.submit(request)
    found: dict[UUID, list[Event]] = {request.id: [] for request in requests}
    while not engine.idle():
        for event in engine.step():
            found[event.generation].append(event)
    assert engine.step() == []  # and the page pool is whole
    return found


def decoded(given: LoadedModel, request: GenerationRequest) -> list[Event]:
    """All events of one request that runs alone."""
    return events_of(Engine(given), request)[request.id]


def unbroken(event: Event) -> Event:
    """The event. Raises RuntimeError, with what the engine says of it, for a fault."""
    if isinstance(event, Noted) and event.note is NoteKind.FAULT:
        raise RuntimeError(event.detail)
    return event


def output(events: Iterable[Event]) -> tuple[int, ...]:
    """The answer, rebuilt from the events alone."""
    return tuple(token for event in events if isinstance(event, Output) for token in event.output)


def finished(events: Sequence[Event]) -> Finished:
    """The closing event, which must be the last."""
    assert isinstance(events[-1], Finished)
    return events[-1]


def nameless(events: Sequence[Event]) -> list[str]:
    """Events without the generation's id and without how long it took, for comparing two runs."""
    timeless = (replace(event, busy_us=None) if isinstance(event, Finished) else event for event in events)
    return [repr(event).replace(str(event.generation), "") for event in timeless]


def stepped(engine: Engine, request: GenerationRequest, steps: int) -> list[Event]:
    """Submit and make `steps` steps."""
    engine.submit(request)
    return [event for _ in range(steps) for event in engine.step()]


def drained(engine: Engine) -> list[Event]:
    """Step until idle."""
    found: list[Event] = []
    while not engine.idle():
        found += engine.step()
    assert engine.step() == []  # and the page pool is whole
    return found


def play(
    given: LoadedModel,
    request: GenerationRequest,
    rewrite: Callable[[Plan, Tensor], Tensor] = lambda plan, logits: logits,
    watch: Callable[[Session], None] = lambda session: None,
) -> tuple[list[Event], FinishReason]:
    """Drive a mode by hand: `rewrite` may change the logits of a pass, `watch` sees the session after it."""
    pool = PagePool(given.config, pages=64, dtype=torch.float32)
    session, weights, strict = begun(given, request, pool), Weights(given.network, torch.float32), STRICT
    passes = decode(session)
    step = session.refill() or next(passes)
    while True:
        refilling = session.refill() is not None
        session.cache.reserve(session.cache.filled + step.frame.clean)
        plan = Plan.pack([(session.cache, step)], strict.padded)
        logits = rewrite(plan, run(weights, strict, plan, pool))
        try:
            if refilling:
                session.refilled(step)
                step = session.refill() or next(passes)
            else:
                session.passed()
                said = Logits.of(logits, given.config.mask_token_id)
                step = passes.send(sample(said, plan.picks, [session.ask(step)])[0])
        except StopIteration:
            assert session.ended is not None
            session.finish(session.ended)
            return session.drain(), session.ended
        finally:
            watch(session)


def begun(given: LoadedModel, request: GenerationRequest, pool: PagePool) -> Session:
    """A session as the engine would open it, alone."""
    vocab, tokens = given.config.vocab_size, given.tokenizer
    think = (tokens.id_of("<think>"), tokens.id_of("</think>"))
    stops = Stops(request.stop_ids, request.stop_strings, tokens.decode_bytes)
    rules = RowRules(request, vocab, think)
    return Session(request, KVCache(pool, b""), rules, stops, given.config.mask_token_id, lambda: 1)


def snapshot(cache: KVCache) -> Tensor:
    """A copy of the filled part of a cache, [layers, filled, 2, Hk, D]."""
    pages = cache._pool.kv[:, torch.tensor(cache.pages, dtype=torch.int64)].flatten(1, 2)
    return pages[:, : cache.filled].clone()


def drafter(choose: Callable[[int], int]) -> Callable[[Plan, Tensor], Tensor]:
    """A `rewrite` that makes every noisy row certain of `choose(absolute position)`."""

    def rewrite(plan: Plan, logits: Tensor) -> Tensor:
        changed, flags = logits.clone(), plan.field(2)
        for index, row in enumerate(plan.wanted.tolist()):
            if int(flags[row]) & Flag.NOISY:
                changed[index] = torch.full_like(changed[index], -1e4)
                changed[index, choose(int(plan.position[row]))] = 1e4
        return changed

    return rewrite


def causal_attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Plain causal attention without a cache, for asking the network directly."""
    query, key, value = (x.transpose(-2, -3) for x in (query, key, value))
    mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    return mixed.transpose(-2, -3)
