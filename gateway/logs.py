"""The gateway's own log: one JSON object per line on standard error, without secrets and without text of prompts or answers.

What may be logged is an allowlist by habit: ids, names, states, figures. The audit log is elsewhere; this one is for operators.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from audit.errors import AuditError, LogUnavailable, QueueFull

SECRET: Final = frozenset({"authorization", "x-api-key", "cookie", "key", "password", "url", "prompt", "text", "content"})


def configure(level: int = logging.INFO) -> None:
    """Set up structlog for a process that serves; what libraries have to say comes the same way."""
    structlog.configure(
        processors=_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)


class _Libraries(logging.Handler):
    """Makes lines of the gateway's log of what libraries write to Python's; any client can make uvicorn write there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record."""
        said = structlog.get_logger(__name__)
        said.log(record.levelno, "library.said", logger=record.name, line=record.getMessage(), exc_info=record.exc_info)


def configure_for_command() -> None:
    """Set up structlog for a command: what goes wrong, and never on standard output, which holds what was asked for."""
    structlog.configure(
        processors=_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _processors() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
        # Locals of a frame may hold prompts and keys, so tracebacks go without them.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        structlog.processors.JSONRenderer(),
    ]


def redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Blank any field whose name says that it may hold a secret or text, should one ever be passed."""
    for name in SECRET & event.keys():
        event[name] = "[redacted]"
    return event


def unavailable(error: AuditError) -> None:
    """That the audit log cannot serve; why, where that is about the log and not about what was to be recorded."""
    reason = str(error) if isinstance(error, LogUnavailable | QueueFull) else None
    structlog.get_logger(__name__).warning("log.unavailable", error=type(error).__name__, reason=reason)


def signing(tenant: str, trouble: str) -> None:
    """That the checkpoints of a log cannot be written, and why; or, without a reason, that they are again."""
    if trouble:
        structlog.get_logger(__name__).warning("checkpoints.not_signed", tenant=tenant, reason=trouble)
    else:
        structlog.get_logger(__name__).info("checkpoints.signed_again", tenant=tenant)


def notice(line: str) -> None:
    """One line that the person who started the process should see."""
    structlog.get_logger(__name__).info("notice", line=line)
