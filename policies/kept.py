"""An answer's facts as they may be kept: without the words of its tool calls, and yet enough to judge it again.

What the arguments of a call name is held once against the globs that are asked; which of them it meets is a state, not content.
"""

from __future__ import annotations

from dataclasses import replace

from policies.facts import AnswerFacts, ToolCall
from policies.globs import path_matcher
from policies.policy import Policy
from policies.verdicts import Decision


def globs_asked(policy: Policy, decision: Decision) -> tuple[str, ...]:
    """The path globs of all rules that an answer under `decision` can meet, each once, in their order."""
    releases = policy.compiled.releases
    return tuple(dict.fromkeys(glob for name in decision.release_rules for glob in releases[name].paths))


def kept(policy: Policy, decision: Decision, answer: AnswerFacts) -> AnswerFacts:
    """`answer` without words; under `decision` it is judged alike."""
    asked = globs_asked(policy, decision)
    return replace(answer, calls=tuple(_kept(call, asked) for call in answer.calls))


def _kept(call: ToolCall, asked: tuple[str, ...]) -> ToolCall:
    met = tuple(glob for glob in asked if path_matcher((glob,))(call.paths)) if call.readable else asked
    return ToolCall(call.name, readable=False, asked=asked, met=met)
