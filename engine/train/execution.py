"""Judges an answer by running its code against hidden cases in a locked child process.

Promise: the parent only compares text; expected results never reach the child. The child (`engine/train/jail.py`) runs isolated
(`python -P -s -S`), without a shell, with an environment of our own, in an empty folder, under limits on time, memory and
output, and behind a system call filter: code in it can open no file, reach no network and start, signal or trace no process.
Where the system has no such filter nothing is run (`JailUnavailable`). Whatever the child writes is taken as hostile.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

from engine.errors import EngineError
from engine.train.grammar import Case, Task

TIMEOUT_SECONDS: Final = 5.0
REPORT_BYTES: Final = 1 << 20
FENCE: Final = re.compile(r"```(?:python|py)?[ \t]*\r?\n(.*?)```", re.DOTALL)
JAIL: Final = Path(__file__).with_name("jail.py")
ENVIRONMENT: Final = {"PYTHONHASHSEED": "0"}
"""All that the child is told: strings hash alike every time, so that an answer that goes through a set of them fares alike."""
NO_JAIL: Final = 3
"""The child's exit status where it could not lock itself in; it ran nothing."""


class JailUnavailable(EngineError, RuntimeError):
    """This system cannot lock a process in, so that no answer may be run on it."""


class Outcome(StrEnum):
    """How an answer fared. Code is never UNREADABLE or INVALID; those are for answers of other forms."""

    PASSED = "passed"
    WRONG = "wrong"
    RAISED = "raised"
    TIMEOUT = "timeout"
    NO_CODE = "no_code"
    UNREADABLE = "unreadable"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome; `detail` says for a person what went wrong and is empty for a passed answer."""

    outcome: Outcome
    detail: str = ""


def extract_code(text: str) -> str | None:
    """The code of the first closed fenced block, or None."""
    found = FENCE.search(text)
    return found.group(1) if found else None


def judge(text: str, made: Task) -> Verdict:
    """`judge_code` for a task of the grammar."""
    return judge_code(text, made.function, made.cases)


def judge_code(text: str, function: str, cases: Sequence[Case], *, timeout: float = TIMEOUT_SECONDS) -> Verdict:
    """Run the answer's code on every case, for at most `timeout` seconds. Never raises for a bad answer.

    Raises JailUnavailable where code cannot be locked in.
    """
    code = extract_code(text)
    if code is None:
        return Verdict(Outcome.NO_CODE, "the answer has no closed fenced block")
    calls = [{"arguments": case.arguments, "names": case.names} for case in cases]
    job = json.dumps({"code": code, "function": function, "calls": calls}).encode()
    require_jail()
    output = _run(job, timeout)
    if output is None:
        return Verdict(Outcome.TIMEOUT, f"no result within {timeout:g} seconds")
    return _compare(output, [repr(case.expected) for case in cases])


@cache
def require_jail() -> None:
    """Asked once, with code of our own, because an answer could imitate any status. Raises JailUnavailable."""
    job = {"code": "def f(x): return x", "function": "f", "calls": [{"arguments": [1], "names": []}]}
    child = subprocess.run(_command(), input=json.dumps(job).encode(), capture_output=True, env=ENVIRONMENT, check=False)
    if child.returncode == NO_JAIL:
        raise JailUnavailable("answers are run only where the kernel can lock a process in: use Linux with seccomp")
    if _report(child.stdout) != (["1"], ""):
        said = child.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ends with status {child.returncode}"
        raise JailUnavailable(f"answers cannot be run: {sys.executable} does not work isolated ({said[:200]})")


def _command() -> list[str]:
    """Isolated as by -I, which would not listen to our own environment either."""
    return [sys.executable, "-P", "-s", "-S", str(JAIL)]


def _run(job: bytes, timeout: float) -> bytes | None:
    """What the child wrote, or None when it ran out of time. Its whole session is killed at the end."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            _command(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        try:
            child.communicate(job, timeout=timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(child)
        output.seek(0)
        return output.read(REPORT_BYTES)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave no process of the session behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _compare(output: bytes, expected: Sequence[str]) -> Verdict:
    """The output is the child's and may be anything: all but a well-formed report counts as raised."""
    report = _report(output)
    if report is None:
        return Verdict(Outcome.RAISED, "the process ended without a report")
    results, raised = report
    for place, wanted in enumerate(expected):
        if place >= len(results):
            return Verdict(Outcome.RAISED, f"case {place}: {raised or 'no result'}"[:500])
        if results[place] != wanted:
            return Verdict(Outcome.WRONG, f"case {place}: got {results[place]!s:.200}, expected {wanted}")
    return Verdict(Outcome.PASSED)


def _report(output: bytes) -> tuple[list[Any], str] | None:
    """Results and error of a well-formed report, or None."""
    try:
        report = json.loads(output)
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or not isinstance(results := report.get("results"), list):
        return None
    return results, str(report.get("raised", ""))
