"""The law: a closed TOML document per tenant, and a pure judge of requests, of units of text, and of answers."""

from policies.answer import summarise
from policies.approval import Approval, OnExpire
from policies.check import check
from policies.document import Document
from policies.errors import Finding, PolicyError
from policies.explain import Considered, Explanation, Match, explain
from policies.facts import UNCOUNTED, AnswerFacts, AnswerFigures, BlockFacts, RequestFacts, ToolCall
from policies.judge import decide
from policies.judge_block import judge_block
from policies.judge_release import judge_release
from policies.kept import kept
from policies.limits import Budget, OnExceed, Per, Unit, Window
from policies.load import load
from policies.metrics import MEASURES, Metric
from policies.modes import Mode
from policies.paths import called
from policies.policy import Policy
from policies.prices import Prices, Usage, cost
from policies.reading import BASELINE
from policies.rejudge import Outcome
from policies.replay import Change, Report, Unreproduced, replay
from policies.report import Effects, Quality
from policies.rows import Admission, Human, Row
from policies.stored import restored, written
from policies.sweep import Point, sweep
from policies.verdicts import (
    Decision,
    Obligation,
    PolicyDigest,
    Refusal,
    RefusalCode,
    ReleaseRuling,
    Ruling,
    Verdict,
)
from policies.words import Action, Enforcement, OnDisallowed, Phase, Release, Risk
from policies.world import World

__all__ = [
    "BASELINE",
    "MEASURES",
    "UNCOUNTED",
    "Action",
    "Admission",
    "AnswerFacts",
    "AnswerFigures",
    "Approval",
    "BlockFacts",
    "Budget",
    "Change",
    "Considered",
    "Decision",
    "Document",
    "Effects",
    "Enforcement",
    "Explanation",
    "Finding",
    "Human",
    "Match",
    "Metric",
    "Mode",
    "Obligation",
    "OnDisallowed",
    "OnExceed",
    "OnExpire",
    "Outcome",
    "Per",
    "Phase",
    "Point",
    "Policy",
    "PolicyDigest",
    "PolicyError",
    "Prices",
    "Quality",
    "Refusal",
    "RefusalCode",
    "Release",
    "ReleaseRuling",
    "Report",
    "RequestFacts",
    "Risk",
    "Row",
    "Ruling",
    "ToolCall",
    "Unit",
    "Unreproduced",
    "Usage",
    "Verdict",
    "Window",
    "World",
    "called",
    "check",
    "cost",
    "decide",
    "explain",
    "judge_block",
    "judge_release",
    "kept",
    "load",
    "replay",
    "restored",
    "summarise",
    "sweep",
    "written",
]
