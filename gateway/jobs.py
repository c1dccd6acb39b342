"""Work that takes longer than a page: done one after the other beside the event loop, watched by whoever asked for it.

A job lives in the process that began it and is forgotten there after a while; what it made is on disk or in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

import structlog

from audit.errors import AuditError
from gateway.errors import Overloaded
from gateway.registry import RegistryError

WAITING_MOST: Final = 8
KEPT_MOST: Final = 64
_log = structlog.get_logger(__name__)

Watch: TypeAlias = Callable[[int, int], None]
"""Told how far the work is, and of how much; raises Stopped when the process ends."""


class Stopped(Exception):
    """The process is ending; what was begun is left undone."""


@dataclass(slots=True)
class Job:
    """One piece of work. `found` is what it came to, `trouble` why it came to nothing."""

    tenant: str
    by: str
    name: str
    unit: str
    """What is counted while it goes on."""
    template: str
    """Shows `found`."""
    id: UUID = field(default_factory=uuid4)
    begun_at: float = field(default_factory=time.time)
    done: int = 0
    of: int = 0
    found: Any = None
    trouble: str = ""
    over: bool = False

    @property
    def told(self) -> str:
        """How it stands, in a sentence."""
        if self.trouble:
            return f"{self.name}: {self.trouble}"
        if self.over:
            return f"{self.name}: done."
        return f"{self.name}: {self.done} of {self.of} {self.unit}." if self.of else f"{self.name}: begun."


class Jobs:
    """The jobs of one process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "jobs")
        self._lock = Lock()
        self._jobs: dict[UUID, Job] = {}
        self._stopping = False

    def begin(self, job: Job, work: Callable[[Watch], Any]) -> Job:
        """Have the work done in its turn. Raises Overloaded when too much of it waits."""
        with self._lock:
            if sum(not each.over for each in self._jobs.values()) >= WAITING_MOST:
                raise Overloaded("Other work is under way here. Try again in a minute.", retry_seconds=60)
            self._forget()
            self._jobs[job.id] = job
        self._thread.submit(work, self._watch(job)).add_done_callback(partial(_end, job))
        return job

    def find(self, tenant: str, job: UUID) -> Job | None:
        """A job of this tenant."""
        found = self._jobs.get(job)
        return found if found is not None and found.tenant == tenant else None

    def stop(self) -> None:
        """End what is under way and begin nothing more. Blocking."""
        self._stopping = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _forget(self) -> None:
        over = [each.id for each in self._jobs.values() if each.over]
        for old in over[: max(0, len(self._jobs) + 1 - KEPT_MOST)]:
            del self._jobs[old]

    def _watch(self, job: Job) -> Watch:
        def watch(done: int, of: int) -> None:
            if self._stopping:
                raise Stopped
            job.done, job.of = done, of

        return watch


def _end(job: Job, done: Future[Any]) -> None:
    """Say what a job came to."""
    error = Stopped() if done.cancelled() else done.exception()
    match error:
        case None:
            job.found = done.result()
        case AuditError() | RegistryError() | ValueError() | OSError():
            job.trouble = str(error)
        case Stopped():
            job.trouble = "the gateway stopped before it was done."
        case _:
            _log.error("job.failed", job=job.name, exc_info=error)
            job.trouble = f"a fault of ours ({type(error).__name__}); an operator finds it in the gateway's log."
    job.over = True
