"""The engine's errors: `EngineError`, and under it the caller's, the numbers' and the machine's."""

from __future__ import annotations


class EngineError(Exception):
    """Any refusal or failure that the engine raises on purpose."""


class InvalidRequest(EngineError, ValueError):
    """A request that can never run on this model; nothing was queued."""


class NumericFault(EngineError, ArithmeticError):
    """Logits that are not finite: the weights or the cache of one generation are damaged."""


class Busy(EngineError):
    """The line of waiting requests is full; nothing was queued, try again later."""


class PageFault(EngineError, RuntimeError):
    """The bookkeeping of cache pages contradicts itself: no generation of this engine may go on."""


class ConstraintBroken(EngineError, RuntimeError):
    """One generation left its constraint, or the constraint left it nothing to say: a bug, a dead end, or too much work."""


class DoesNotFit(EngineError):
    """A device that is not there, or too small for the model; the message says what would do."""
