"""Gateways that begin as forks of a process which has imported everything and done nothing: a start costs no imports.

They are processes like any other, to be killed and restarted; what `python -m gateway serve` itself does with its
interpreter is tried where a test starts that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from gateway.gateway_process import SERVE, Process
from tests.forkserver import forkserver


class Fork:
    """A forked process with the manners of `Popen`."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if (status := self._process.exitcode) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return status

    def send_signal(self, sig: int) -> None:
        """Deliver a signal, unless it has ended."""
        if self._process.exitcode is None:
            assert self._process.pid is not None
            os.kill(self._process.pid, sig)

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


def forked(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> Process:
    """`palimpsest serve` with these arguments, as a fork."""
    assert tuple(command[: len(SERVE)]) == SERVE, "only the gateway is imported ahead"
    process = forkserver().Process(target=_serve, args=(list(command[len(SERVE) :]), log, dict(environ)), name="serve")
    process.start()
    return Fork(process)


def _serve(arguments: Sequence[str], log: Path, environ: Mapping[str, str]) -> None:
    """In the fork: the environment, the output and the arguments that a new process would have."""
    from gateway.cli import main  # noqa: PLC0415 - imported ahead in the process that forks, not in the one that asks

    os.environ.clear()
    os.environ.update(environ)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    sys.argv = ["palimpsest", "serve", *arguments]
    main()
