"""The judge inside the engine: one unit of text, accepted, refined, decoded again, held or blocked."""

from __future__ import annotations

from typing import Final

from policies.facts import BlockFacts
from policies.modes import Mode
from policies.policy import Policy
from policies.standing import Demand, Standing
from policies.verdicts import OTHER_POLICY, SEPARATOR, SHADOW, VERDICTS, Decision, Ruling, Verdict
from policies.words import Action, strictest

_NOTHING: Final = Ruling(Verdict.ACCEPT)
_MODES: Final = {mode.value: mode for mode in Mode}


def judge_block(policy: Policy, decision: Decision, facts: BlockFacts) -> Ruling:
    """Rule on one unit of a generation that runs under `decision`; every gate is asked, and the strictest demand wins.

    A unit whose mode has no name here is held, for nothing is known of its figures; and so is one that was permitted under
    another policy than this. Raises nothing.
    """
    if decision.policy_digest != policy.digest:
        return Ruling(Verdict.HOLD, OTHER_POLICY)
    mode = judged_mode(decision, facts.mode)
    if mode is None:
        return _ruled(policy, Action.HOLD, "mode_unknown", [])
    demands: list[tuple[Demand, Standing]] = []
    for label in decision.block_rules:
        standing = policy.compiled.blocks[label]
        demand = standing.of_unit(mode, facts)
        if demand is not None:
            demands.append((demand, standing))
    if not demands:
        return _NOTHING
    action = strictest(demand[0] for demand, _ in demands)
    winning = [(demand[1], standing) for demand, standing in demands if demand[0] is action]
    return _ruled(policy, action, SEPARATOR.join(label for label, _ in winning), [standing for _, standing in winning])


def judged_mode(decision: Decision, said: str) -> Mode | None:
    """The mode by whose gates a unit is judged.

    The engine calls any unit with a speculative round `linear_spec`, and one without `ar`, so a generation that was
    started in one causal mode is judged as that mode throughout, and one that was left to choose as a mode that it was
    permitted: an answer that ends with its first token has no round yet. What was denoised is denoised whoever asked for it.
    """
    mode = _MODES.get(said)
    if mode is None or mode in (Mode.DIFFUSION, Mode.AUTO):
        return None if mode is Mode.AUTO else mode
    if decision.mode not in (Mode.AUTO, Mode.DIFFUSION):
        return decision.mode
    if mode in decision.modes_permitted:
        return mode
    others = (Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC) if mode is Mode.AR else (Mode.QUADRATIC_SPEC,)
    return next((other for other in others if other in decision.modes_permitted), mode)


def _ruled(policy: Policy, action: Action, rule: str, winning: list[Standing]) -> Ruling:
    verdict = VERDICTS[action]
    if policy.lifted is not None:
        return Ruling(Verdict.ACCEPT, f"{SHADOW}{action.value}:{rule}")
    if action is Action.ALLOW:
        return _NOTHING
    if verdict is not Verdict.REFINE:
        return Ruling(verdict, rule)
    refines = [standing.refine for standing in winning if standing.refine is not None]
    threshold = max((refine.threshold for refine in refines), default=1.0)
    return Ruling(verdict, rule, threshold, max((refine.steps for refine in refines), default=1))
