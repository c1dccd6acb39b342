"""Steps 2 and 3: the law decides, and its decision is durable before the engine may run.

A permitted request leaves three records (request.open, prompt.body, policy.decision) in one commit; a refused one leaves one.
Whatever goes wrong after the caller is known and before the engine runs is recorded as a refusal too, malformed
bodies included. Nothing here touches the engine.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

import policies
from audit.records import PolicyDecision, PromptBody, RequestOpen
from audit.writer import Entry
from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.model.checkpoint import LoadedModel
from engine.request import ConstraintKind, GenerationRequest, Mode, Sampling
from gateway.appending import Log, append_when_room
from gateway.authenticate import Subject
from gateway.compiling import beside_the_loop
from gateway.dialects.prompt import tokenise
from gateway.dialects.request import ChatRequest
from gateway.errors import BadRequest, GatewayError, Refused, UnknownModel
from gateway.generation import Admitted
from gateway.release import ReleaseRule


@dataclass(frozen=True, slots=True)
class Bench:
    """What admission judges with: the served model, the policy in force and the names that go on record."""

    model: LoadedModel
    policy: policies.Policy
    engine: Engine
    instance: UUID


async def admit(bench: Bench, log: Log, subject: Subject, chat: ChatRequest, request_id: UUID) -> Admitted:
    """Judge and record one request. Raises GatewayError (to be recorded by `record_refusal`) or LogUnavailable."""
    if chat.model != bench.model.name:
        raise UnknownModel(f"model {chat.model!r} is not served here; GET /v1/models lists what is", param="model")
    _check_numeric(bench, chat)
    prompt = await asyncio.to_thread(tokenise, bench.model, chat)
    room = _room(bench.engine.longest, prompt)
    decision = policies.decide(bench.policy, _facts(subject, chat, len(prompt)))
    if isinstance(decision, policies.Refusal):
        raise Refused(decision.reason, status=decision.status, code=decision.code.value)
    request = _generation_request(bench, subject.tenant, chat, decision, request_id, prompt, room)
    await _check_constraint(bench, request)
    bodies = (_open(bench, subject, chat, request), PromptBody(chat.prompt_json, prompt), _permission(decision))
    digest = bytes(decision.policy_digest)
    entries = [Entry(subject.tenant, request_id, subject.caller, digest, body) for body in bodies]
    appended = await append_when_room(log, entries)
    return Admitted(
        request=request,
        tenant=subject.tenant,
        caller=subject.caller,
        model=chat.model,
        policy_digest=digest,
        release=ReleaseRule(decision.release.value),
        records=len(entries),
        first_seq=appended.first_seq,
        last_seq=appended.last_seq,
    )


async def record_refusal(
    bench: Bench, log: Log, subject: Subject, request_id: UUID, error: GatewayError, rules: Sequence[str] = ()
) -> None:
    """One record for a request that an authenticated caller made and that will not run. Raises LogUnavailable."""
    digest = bytes(bench.policy.digest)
    body = PolicyDecision(
        outcome="refuse",
        reason=f"{error.code}: {error.message}",
        mode="",
        modes_permitted=(),
        release=ReleaseRule.STREAM.value,
        policy_digest=digest,
        rules=tuple(rules),
        status=error.status,
    )
    await append_when_room(log, [Entry(subject.tenant, request_id, subject.caller, digest, body)])


def _check_numeric(bench: Bench, chat: ChatRequest) -> None:
    """One process computes in one way; asking for the other is refused rather than ignored."""
    served = bench.engine.numeric.value
    if chat.knob.numeric not in (None, served):
        raise BadRequest(
            f"numeric {chat.knob.numeric!r} is not served here, this gateway computes {served!r}: leave it out",
            code="unsupported_parameter",
            param="palimpsest.numeric",
        )


async def _check_constraint(bench: Bench, request: GenerationRequest) -> None:
    """A constraint that does not compile never reaches the engine."""
    if request.constraint is None:
        return
    try:
        await beside_the_loop(bench.engine.constrainer.check, request.constraint)
    except InvalidRequest as error:
        ours = request.constraint.kind in (ConstraintKind.REGEX, ConstraintKind.GRAMMAR)
        param = f"palimpsest.{request.constraint.kind}" if ours else "response_format"
        raise BadRequest(str(error), code="invalid_constraint", param=param) from error


def _room(context: int, prompt: Sequence[int]) -> int:
    """Tokens of the context that the prompt leaves for the answer."""
    if len(prompt) >= context:
        raise BadRequest(
            f"the prompt has {len(prompt)} tokens and the model's context is {context}: shorten the messages",
            code="context_length_exceeded",
            param="messages",
        )
    return context - len(prompt)


def _facts(subject: Subject, chat: ChatRequest, prompt_tokens: int) -> policies.RequestFacts:
    return policies.RequestFacts(
        tenant=subject.tenant,
        caller=subject.caller,
        model=chat.model,
        requested_mode=chat.knob.mode,
        workflow=chat.knob.workflow or None,
        risk=chat.knob.risk or None,
        max_tokens=chat.max_tokens,
        block_length=chat.knob.block_length,
        threshold=chat.knob.threshold,
        max_steps=chat.knob.max_steps,
        seed_first=chat.knob.seed_first,
        prompt_tokens=prompt_tokens,
        tools=tuple(tool.name for tool in chat.tools),
    )


def _generation_request(
    bench: Bench,
    tenant: str,
    chat: ChatRequest,
    decision: policies.Decision,
    request_id: UUID,
    prompt: tuple[int, ...],
    room: int,
) -> GenerationRequest:
    """Effective values: the policy's, with the answer cut to the context; a missing seed is 64 random bits."""
    try:
        return GenerationRequest(
            id=request_id,
            prompt=prompt,
            mode=Mode(decision.mode.value),
            modes_permitted=frozenset(Mode(mode.value) for mode in decision.modes_permitted),
            max_tokens=min(decision.max_tokens, room),
            sampling=_sampling(chat),
            block_length=decision.block_length,
            threshold=decision.threshold,
            max_steps=decision.max_steps,
            seed_first=decision.seed_first,
            stop_ids=frozenset({bench.model.config.eos_token_id}),
            stop_strings=chat.stop,
            top_logprobs=chat.top_logprobs or 0,
            constraint=chat.constraint,
            cache_salt=tenant,
        )
    except InvalidRequest as error:
        raise BadRequest(str(error)) from error


def _sampling(chat: ChatRequest) -> Sampling:
    """What was asked for; a missing seed is 64 random bits."""
    seed = secrets.randbits(64) if chat.seed is None else chat.seed
    return Sampling(seed=seed, choice=chat.index, **asdict(chat.sampling))


def _open(bench: Bench, subject: Subject, chat: ChatRequest, request: GenerationRequest) -> RequestOpen:
    sampling, constraint = request.sampling, request.constraint
    return RequestOpen(
        caller=subject.caller,
        workflow=chat.knob.workflow,
        model=chat.model,
        weights_digest=bytes.fromhex(bench.model.weights_digest),
        numeric=bench.engine.numeric.value,
        dtype=bench.engine.dtype,
        fingerprint=bench.engine.fingerprint,
        mode=request.mode.value,
        modes_permitted=tuple(sorted(mode.value for mode in request.modes_permitted)),
        block_length=request.block_length,
        threshold=None if request.threshold is None else float(request.threshold),
        max_steps=request.max_steps,
        seed_first=request.seed_first,
        temperature=float(sampling.temperature),
        seed=sampling.seed,
        choice=sampling.choice,
        max_tokens=request.max_tokens,
        prompt_tokens=len(request.prompt),
        instance=bench.instance,
        dialect=chat.dialect.value,
        top_p=float(sampling.top_p),
        top_k=sampling.top_k,
        min_p=float(sampling.min_p),
        presence_penalty=float(sampling.presence_penalty),
        frequency_penalty=float(sampling.frequency_penalty),
        repetition_penalty=float(sampling.repetition_penalty),
        top_logprobs=request.top_logprobs,
        think_budget=request.think_budget,
        stop_strings=request.stop_strings,
        stop_ids=tuple(sorted(request.stop_ids)),
        constraint_kind="" if constraint is None else constraint.kind.value,
        constraint_source="" if constraint is None else constraint.source,
        gated=request.gate is not None,
    )


def _permission(decision: policies.Decision) -> PolicyDecision:
    return PolicyDecision(
        outcome="allow",
        reason="",
        mode=decision.mode.value,
        modes_permitted=tuple(mode.value for mode in decision.modes_permitted),
        release=decision.release.value,
        policy_digest=bytes(decision.policy_digest),
        rules=decision.rules,
        status=0,
    )
