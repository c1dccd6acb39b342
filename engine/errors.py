"""The engine's errors: one small tree.

    EngineError
    ├── InvalidRequest   the caller asked for something that cannot run; the message says what to change
    └── NumericFault     the network gave a value that is not a number; only that generation ends
"""

from __future__ import annotations


class EngineError(Exception):
    """Any refusal or failure that the engine raises on purpose."""


class InvalidRequest(EngineError, ValueError):
    """A request that can never run on this model; nothing was queued."""


class NumericFault(EngineError, ArithmeticError):
    """Logits that are not finite: the weights or the cache of one generation are damaged."""
