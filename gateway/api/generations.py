"""GET /api/generations: generations by what is known of them, and each recorded state of one, straight from its records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from litestar import Request, Response, get, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from audit.blocks import BlockTrace
from audit.records import PromptBody, SpecRounds, SpecRoundTrace
from audit.trace import decode_step
from gateway.api import documents, forms
from gateway.api.answering import answer
from gateway.api.asking import given, query
from gateway.api.reading import NOTHING, Opened, opened
from gateway.api.visit import READS_FIGURES, visit
from gateway.errors import NotHere
from gateway.house import House
from gateway.projections.paging import Page, Place
from gateway.projections.search import Sought
from gateway.recall import output_of

B = TypeVar("B")


@route("/generations", http_method=["GET", "HEAD"])
async def list_generations(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """A page of generations, newest first: a tenant's for a person, a key's own for a key."""
    who = await visit(request, house)
    who.reader(*READS_FIGURES)
    asked = query(request, forms.GenerationQuery)
    text, after = given(asked.text_sha256), given(asked.after)
    sought = Sought(
        mode=given(asked.mode),
        state=given(asked.state),
        caller=given(asked.caller),
        workflow=given(asked.workflow),
        verdict=given(asked.verdict),
        since=given(asked.since),
        until=given(asked.until),
        text_sha256=None if text is None else bytes.fromhex(text),
    )
    if who.caller is not None:
        sought = replace(sought, caller=who.caller)
    page = Page(asked.rows, None if after is None else Place.read(after))
    found = await asyncio.to_thread(house.views.search.generations, who.tenant, sought, page)
    rows = [documents.generation(row) for row in found.rows]
    return answer(forms.Generations(rows, None if found.next is None else str(found.next)))


@route("/generations/{generation:uuid}", http_method=["GET", "HEAD"])
async def show_generation(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """One generation by figures and names."""
    who = await visit(request, house)
    who.reader(*READS_FIGURES)
    query(request, forms.NoQuery)
    row = await asyncio.to_thread(house.views.search.generation, who.tenant, generation)
    if row is None or who.caller not in (None, row.caller):
        raise NotHere(NOTHING)
    return answer(documents.generation(row))


@get("/generations/{generation:uuid}/content")
async def show_content(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """What was asked and what the model wrote, whether or not it was delivered. Recorded as an access."""
    found = await _opened(request, house, generation, "read prompt and answer")
    prompt = next((body for _, body in found.records if isinstance(body, PromptBody)), PromptBody("", ()))
    ids = tuple(token for _, body in found.records for token in output_of(body))
    blocks = [body.index for _, body in _each(found, BlockTrace)]
    rounds = [each.index for _, each in _rounds(found)]
    text = _spell(house)(ids)
    return answer(forms.Answer(generation, prompt.text, list(prompt.ids), text, list(ids), blocks, rounds))


@get("/generations/{generation:uuid}/blocks/{block:int}")
async def show_block(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID], block: FromPath[int]
) -> Response[bytes]:
    """One diffusion block. Recorded as an access."""
    found = await _opened(request, house, generation, f"read block {block}"[:256])
    seq, trace = _block(found, block)
    return answer(documents.block(seq, trace, _spell(house)))


@get("/generations/{generation:uuid}/blocks/{block:int}/steps/{step:int}")
async def show_step(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    generation: FromPath[UUID],
    block: FromPath[int],
    step: FromPath[int],
) -> Response[bytes]:
    """One denoising step of a block: the state before it, and what it did. Recorded as an access."""
    found = await _opened(request, house, generation, f"read step {step} of block {block}"[:256])
    seq, trace = _block(found, block)
    if not 0 <= step < trace.steps.steps:
        raise NotHere(NOTHING)
    state = decode_step(trace, step)
    return answer(documents.step(seq, block, step, state, _spell(house)))


@get("/generations/{generation:uuid}/rounds/{number:int}")
async def show_round(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID], number: FromPath[int]
) -> Response[bytes]:
    """One round of speculation: what was drafted, and how it was verified. Recorded as an access."""
    found = await _opened(request, house, generation, f"read round {number}"[:256])
    seq, trace = _one(((seq, each) for seq, each in _rounds(found) if each.index == number))
    return answer(documents.round_of(seq, trace, _spell(house)))


async def _opened(request: Request[Any, Any, Any], house: House, generation: UUID, what: str) -> Opened:
    who = await visit(request, house)
    query(request, forms.NoQuery)
    return await opened(who, generation, what)


def _spell(house: House) -> documents.Spell:
    return house.intake.model.tokenizer.decode


def _each(found: Opened, kind: type[B]) -> Iterator[tuple[int, B]]:
    return ((header.seq, body) for header, body in found.records if isinstance(body, kind))


def _rounds(found: Opened) -> Iterator[tuple[int, SpecRoundTrace]]:
    return ((seq, each) for seq, body in _each(found, SpecRounds) for each in body.rounds)


def _block(found: Opened, index: int) -> tuple[int, BlockTrace]:
    return _one(((seq, body) for seq, body in _each(found, BlockTrace) if body.index == index))


def _one(found: Iterator[tuple[int, B]]) -> tuple[int, B]:
    first = next(found, None)
    if first is None:
        raise NotHere(NOTHING)
    return first
