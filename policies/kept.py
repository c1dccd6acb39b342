"""An answer's facts as they may be kept: without the words of its tool calls, and yet enough to judge it again.

What the arguments of a call name is held once against the globs that are asked; which of them it meets is a state, not content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    asked = {glob: path_matcher((glob,)) for glob in globs_asked(policy, decision)} if answer.calls else {}
    return replace(answer, calls=tuple(_kept(call, asked) for call in answer.calls))


def _kept(call: ToolCall, matchers: Mapping[str, Callable[[str], bool]]) -> ToolCall:
    asked = tuple(matchers)
    met = tuple(glob for glob, on_path in matchers.items() if on_path(call.paths)) if call.readable else asked
    return ToolCall(call.name, readable=False, asked=asked, met=met)
