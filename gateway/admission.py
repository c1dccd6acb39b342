"""Steps 2 and 3: the law decides, and its decision is durable before the engine may run.

A permitted request leaves three records (request.open, prompt.body, policy.decision) in one commit; a refused one leaves one.
Whatever goes wrong after the caller is known and before the engine runs is recorded as a refusal too, malformed
bodies included. Nothing here touches the engine.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final
from uuid import UUID

import policies
from audit.records import Body, PolicyDecision, PromptBody, RequestOpen
from audit.writer import Entry, Range
from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.model.checkpoint import LoadedModel
from engine.request import ConstraintKind, GenerationRequest, Mode, Sampling
from gateway.appending import Haste, Log, append_when_room
from gateway.approvals.claim import UNCLAIMED, Claim
from gateway.authenticate import Subject
from gateway.budgets.budgets import Budgets
from gateway.budgets.lease import Lease
from gateway.budgets.visit import Visit
from gateway.compiling import beside_the_loop
from gateway.dialects.prompt import read
from gateway.dialects.reading import answer_reader
from gateway.dialects.request import AskedSampling, ChatRequest, Dialect
from gateway.errors import BadRequest, GatewayError, UnknownModel
from gateway.generation import Admitted
from gateway.law.clock import minute_of_week
from gateway.law.hearing import Law
from gateway.law.lawbook import Lawbook
from gateway.law.record import decided
from gateway.release import ReleaseRule

RECORDABLE: Final = 2**63 - 1
_UNHELD: Final = "diffusion cannot hold a constraint and would run as linear_spec, which is not permitted"
_PICKED_BY: Final = tuple(field.name for field in fields(AskedSampling))


@dataclass(frozen=True, slots=True)
class Intake:
    """What admission judges with: the served model, the policies in force and the names that go on record."""

    model: LoadedModel
    laws: Lawbook
    engine: Engine
    instance: UUID
    budgets: Budgets


async def admit(
    intake: Intake,
    log: Log,
    subject: Subject,
    chat: ChatRequest,
    request_id: UUID,
    claim: Claim = UNCLAIMED,
    asked_by: UUID | None = None,
) -> Admitted:
    """Judge and record one request. Raises GatewayError (to be recorded by `record_refusal`) or LogUnavailable.

    `asked_by` is the client's request, where this is one of several answers to it: all of them meet the same policy.
    One that may be held takes its `claim` before anything is reserved for it. Raises Repeated where another has it.
    """
    if chat.model != intake.model.name:
        raise UnknownModel(f"model {chat.model!r} is not served here; GET /v1/models lists what is", param="model")
    _check_numeric(intake, chat)
    prompt = await read(intake.model, chat)
    room = _room(intake.engine.longest, prompt, chat.dialect)
    policy = intake.laws.policy_for(subject.tenant, asked_by or request_id)
    facts = _as_it_runs(policy, chat, _facts(subject, chat, len(prompt), minute_of_week(policy.document.timezone)))
    visit = Visit(intake.budgets, policy, facts, request_id)
    async with visit.instead():
        await _claim_if_held(claim, policy, policies.decide(policy, facts), visit, intake.laws.on_trial(subject.tenant))
        await visit.undo()
        allotted = await intake.budgets.allot(policy, facts, request_id, room)
        decision = decided(allotted.facts, allotted.verdict)
        if isinstance(allotted.verdict, policies.Refusal):
            raise allotted.error(allotted.verdict).recorded_as(decision)
        async with intake.budgets.kept(request_id):
            _check_holds(chat, allotted.verdict)
            await _claim_if_held(claim, policy, allotted.verdict, visit)
            law = Law(policy, allotted.verdict)
            request = _generation_request(intake, subject.tenant, chat, law, request_id, prompt, room)
            await _check_constraint(intake, request, chat.dialect)
            opening = (_open(intake, subject, chat, request), PromptBody(chat.prompt_json, prompt), decision)
            on_record = await _recorded(intake, log, subject, request_id, policy, opening)
            return _admitted(intake, subject, chat, law, request, on_record, allotted.lease, claim)


async def _recorded(
    intake: Intake, log: Log, subject: Subject, request_id: UUID, policy: policies.Policy, bodies: Sequence[Body]
) -> Range:
    """The opening records of one request, in one commit, and their places once it is durable. Raises LogUnavailable."""
    entries = [Entry(subject.tenant, request_id, subject.caller, bytes(policy.digest), body) for body in bodies]
    return await append_when_room(log, entries, Haste.AWAITED.linger(intake.engine.load))


def _admitted(
    intake: Intake,
    subject: Subject,
    chat: ChatRequest,
    law: Law,
    request: GenerationRequest,
    on_record: Range,
    lease: Lease,
    claim: Claim,
) -> Admitted:
    """The request as its generation takes it over, with what it has reserved and claimed."""
    return Admitted(
        request=request,
        tenant=subject.tenant,
        caller=subject.caller,
        model=chat.model,
        law=law,
        records=on_record.last_seq - on_record.first_seq + 1,
        first_seq=on_record.first_seq,
        last_seq=on_record.last_seq,
        lease=lease,
        claim=claim,
        reader=answer_reader(intake.model, chat.prompt, "", constrained=request.constraint is not None),
        contributors=() if subject.user is None else (subject.user,),
        delivery=chat.delivery,
        scored=chat.scored,
    )


def _as_it_runs(policy: policies.Policy, chat: ChatRequest, facts: policies.RequestFacts) -> policies.RequestFacts:
    """The facts to judge by: diffusion holds no constraint, so a request with one is judged as asking for what runs instead.

    Rules, prices and budgets are then those of `linear_spec`. Raises BadRequest where the policy does not grant that.
    """
    if chat.constraint is None or not _is_diffusion(policies.decide(policy, facts)):
        return facts
    instead = replace(facts, requested_mode=policies.Mode.LINEAR_SPEC.value)
    verdict = policies.decide(policy, instead)
    if isinstance(verdict, policies.Refusal) and verdict.code is policies.RefusalCode.MODE_NOT_PERMITTED:
        raise BadRequest(_UNHELD)
    _check_holds(chat, verdict)
    return instead


def _check_holds(chat: ChatRequest, verdict: policies.Decision | policies.Refusal) -> None:
    """Raise BadRequest for a constraint in a mode that does not hold it, to which a default or a budget can lead back."""
    if chat.constraint is not None and _is_diffusion(verdict):
        raise BadRequest(_UNHELD)


def _is_diffusion(verdict: policies.Decision | policies.Refusal) -> bool:
    return isinstance(verdict, policies.Decision) and verdict.mode is policies.Mode.DIFFUSION


async def _claim_if_held(
    claim: Claim,
    policy: policies.Policy,
    verdict: policies.Decision | policies.Refusal,
    visit: Visit,
    on_trial: bool = False,
) -> None:
    """While two policies judge, a question that one of them holds is not asked until it falls to the other."""
    if isinstance(verdict, policies.Refusal):
        return
    if Law(policy, verdict).may_hold:
        await claim.take(visit.begin)
    elif on_trial:
        await claim.follow(visit.begin)


async def record_refusal(intake: Intake, log: Log, subject: Subject, request_id: UUID, error: GatewayError) -> None:
    """One record for a request that an authenticated caller made and that will not run. Raises LogUnavailable."""
    body = error.record or _turned_away(error, intake.laws.policy_for(subject.tenant, request_id))
    await append_when_room(log, [Entry(subject.tenant, request_id, subject.caller, body.policy_digest, body)])


def _turned_away(error: GatewayError, policy: policies.Policy) -> PolicyDecision:
    """The refusal of a request that the law was not asked about."""
    return PolicyDecision(
        outcome="refuse",
        reason=f"{error.code}: {error.message}",
        mode="",
        modes_permitted=(),
        release=ReleaseRule.STREAM.value,
        policy_digest=bytes(policy.digest),
        rules=(),
        status=error.status,
    )


def _check_numeric(intake: Intake, chat: ChatRequest) -> None:
    """One process computes in one way; asking for the other is refused rather than ignored."""
    served = intake.engine.numeric.value
    if chat.knob.numeric not in (None, served):
        raise BadRequest(
            f"numeric {chat.knob.numeric!r} is not served here, this gateway computes {served!r}: leave it out",
            code="unsupported_parameter",
            param="palimpsest.numeric",
        )


async def _check_constraint(intake: Intake, request: GenerationRequest, dialect: Dialect) -> None:
    """A constraint that does not compile never reaches the engine."""
    if request.constraint is None:
        return
    try:
        await beside_the_loop(intake.engine.constrainer.check, request.constraint)
    except InvalidRequest as error:
        ours = request.constraint.kind in (ConstraintKind.REGEX, ConstraintKind.GRAMMAR)
        param = f"palimpsest.{request.constraint.kind}" if ours else dialect.form_field
        raise BadRequest(str(error), code="invalid_constraint", param=param) from error


def _room(context: int, prompt: Sequence[int], dialect: Dialect) -> int:
    """Tokens of the context that the prompt leaves for the answer."""
    if len(prompt) >= context:
        raise BadRequest(
            f"the prompt has {len(prompt)} tokens and the model's context is {context}: shorten the {dialect.prompt_field}",
            code="context_length_exceeded",
            param=dialect.prompt_field,
        )
    return context - len(prompt)


def _facts(subject: Subject, chat: ChatRequest, prompt_tokens: int, minute: int | None) -> policies.RequestFacts:
    return policies.RequestFacts(
        tenant=subject.tenant,
        caller=subject.caller,
        model=chat.model,
        requested_mode=chat.knob.mode,
        workflow=chat.knob.workflow or None,
        risk=chat.knob.risk or None,
        max_tokens=_recordable(chat.max_tokens),
        block_length=_recordable(chat.knob.block_length),
        threshold=chat.knob.threshold,
        max_steps=_recordable(chat.knob.max_steps),
        seed_first=chat.knob.seed_first,
        prompt_tokens=prompt_tokens,
        tools=tuple(tool.name for tool in chat.tools),
        groups=subject.groups,
        latency_target_ms=chat.knob.latency_target_ms,
        minute_of_week=minute,
    )


def _recordable(asked: int | None) -> int | None:
    """A number of any length, cut to what a record holds, which is far above what any policy grants."""
    return None if asked is None else min(asked, RECORDABLE)


def _generation_request(
    intake: Intake, tenant: str, chat: ChatRequest, law: Law, request_id: UUID, prompt: tuple[int, ...], room: int
) -> GenerationRequest:
    """Effective values: the policy's, with the answer cut to the context; a missing seed is 64 random bits."""
    decision = law.decision
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
            stop_ids=frozenset({intake.model.config.eos_token_id}),
            stop_strings=chat.stop,
            top_logprobs=chat.top_logprobs or 0,
            think_budget=None if chat.constraint else _recordable(chat.knob.think_budget),
            constraint=chat.constraint,
            gate=law.gate(),
            cache_salt=tenant,
        )
    except InvalidRequest as error:
        raise BadRequest(str(error)) from error


def _sampling(chat: ChatRequest) -> Sampling:
    """What was asked for; a missing seed is 64 random bits."""
    seed = secrets.randbits(64) if chat.seed is None else chat.seed
    return Sampling(seed=seed, choice=chat.index, **{name: getattr(chat.sampling, name) for name in _PICKED_BY})


def _open(intake: Intake, subject: Subject, chat: ChatRequest, request: GenerationRequest) -> RequestOpen:
    sampling, constraint = request.sampling, request.constraint
    return RequestOpen(
        caller=subject.caller,
        workflow=chat.knob.workflow,
        model=chat.model,
        weights_digest=bytes.fromhex(intake.model.weights_digest),
        numeric=intake.engine.numeric.value,
        dtype=intake.engine.dtype,
        fingerprint=intake.engine.fingerprint,
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
        instance=intake.instance,
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
