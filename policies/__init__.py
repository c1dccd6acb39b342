"""The law: a closed TOML document per tenant, and a pure judge of requests."""

from policies.document import Document, Enforcement, Mode, OnDisallowed, Release
from policies.judge import Decision, Refusal, RefusalCode, RequestFacts, decide
from policies.load import BASELINE, Policy, PolicyDigest, PolicyError, load

__all__ = [
    "BASELINE",
    "Decision",
    "Document",
    "Enforcement",
    "Mode",
    "OnDisallowed",
    "Policy",
    "PolicyDigest",
    "PolicyError",
    "Refusal",
    "RefusalCode",
    "Release",
    "RequestFacts",
    "decide",
    "load",
]
