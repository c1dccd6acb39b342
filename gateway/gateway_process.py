"""A server in a process of its own, for demo, benchmarks and tests: started on a free port, waited for, ended by SIGTERM."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import httpx

READY_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
SERVE: Final = (sys.executable, "-m", "gateway", "serve")
READY: Final = "/health/ready"


class GatewayDown(Exception):
    """The process did not come up or did not end; the message has its last words and points at its log."""


class Process(Protocol):
    """What is asked of a running process; a `Popen` is one."""

    def poll(self) -> int | None:
        """The exit status as `Popen.returncode` has it, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Deliver a signal, unless it has ended."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""


Start: TypeAlias = Callable[[Sequence[str], Path, Mapping[str, str]], Process]
"""Begins a command with its output in a file and this environment."""


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A server that is ready; `url` has no path."""

    url: str
    process: Process


def spawned(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> Process:
    """A process of its own from the beginning."""
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ)


@contextmanager
def gateway_process(
    log: Path, environ: Mapping[str, str], command: Sequence[str] = SERVE, ready: str = READY, start: Start = spawned
) -> Iterator[GatewayProcess]:
    """A gateway with these settings, its output in `log`; on the way out it has drained and signed, unless it was killed.

    Another `command` must take `--host` and `--port`, as `serve` does, and answer 200 at `ready` when it can be asked.
    """
    port = _free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    process = start([*command, "--host", "127.0.0.1", "--port", str(port)], log, environ)
    try:
        url = f"http://127.0.0.1:{port}"
        _await_ready(process, url + ready, log)
        yield GatewayProcess(url, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: Process, url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=5, trust_env=False) as client:  # one for all: each reads the system's certificates
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise GatewayDown(f"the server ended at its start{_last_words(log)}; see {log}")
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_SECONDS)
    raise GatewayDown(f"the server was not ready after {READY_SECONDS:.0f} s{_last_words(log)}; see {log}")


def _last_words(log: Path) -> str:
    """The last line that the server wrote: its log may lie in a place that goes with it."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return said and f": {said[:300]}"


def _free_port() -> int:
    """A port that the system gives to nobody else for a minute, while a server that asks for it by number may have it.

    It rests after a connection whose end on our side was the first to close. A server may reuse an address; we take none
    that is in use, and then let this one be reused.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen()
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()
            client.recv(1)
        return port
