"""Judges an answer by running its code against a task's hidden cases in a child process.

Promise: the parent only compares text; expected results never reach the child. The child runs isolated
(`python -I`), without a shell, in an empty folder, under limits on time, memory, processes and output. These
bound accidents of a small model; they are no sandbox: do not run code of an adversary here.
"""

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
from typing import Final

from engine.train.grammar import Task

TIMEOUT_SECONDS: Final = 5.0
FENCE: Final = re.compile(r"```(?:python|py)?[ \t]*\r?\n(.*?)```", re.DOTALL)

# Results leave by a private copy of stdout, so that an answer that prints does not disturb them.
CHILD: Final = """\
import json, os, resource, sys
for limit, bound in ((resource.RLIMIT_CPU, 4), (resource.RLIMIT_AS, 1 << 29), (resource.RLIMIT_NPROC, 0),
                     (resource.RLIMIT_FSIZE, 1 << 20), (resource.RLIMIT_NOFILE, 32)):
    try:
        resource.setrlimit(limit, (bound, bound))
    except (OSError, ValueError):
        pass  # not every system knows every limit; the parent's timeout always holds
job = json.load(sys.stdin)
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
results, raised = [], ""
try:
    scope = {"__name__": "answer"}
    exec(compile(job["code"], "answer.py", "exec"), scope)
    function = scope[job["function"]]
    for argument in job["arguments"]:
        results.append(repr(function(argument)))
except BaseException as error:
    raised = f"{type(error).__name__}: {error}"
json.dump({"results": results, "raised": raised}, report)
report.flush()
os._exit(0)
"""


class Outcome(StrEnum):
    """How an answer fared."""

    PASSED = "passed"
    WRONG = "wrong"
    RAISED = "raised"
    TIMEOUT = "timeout"
    NO_CODE = "no_code"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome; `detail` says for a person what went wrong and is empty for a passed answer."""

    outcome: Outcome
    detail: str = ""


def extract_code(text: str) -> str | None:
    """The code of the first closed fenced block, or None."""
    found = FENCE.search(text)
    return found.group(1) if found else None


def judge(text: str, made: Task, *, timeout: float = TIMEOUT_SECONDS) -> Verdict:
    """Run the answer's code on every case, for at most `timeout` seconds. Never raises for a bad answer."""
    code = extract_code(text)
    if code is None:
        return Verdict(Outcome.NO_CODE, "the answer has no closed fenced block")
    job = {"code": code, "function": made.function, "arguments": [case.argument for case in made.cases]}
    output = _run(json.dumps(job).encode(), timeout)
    if output is None:
        return Verdict(Outcome.TIMEOUT, f"no result within {timeout:g} seconds")
    return _compare(output, [repr(case.expected) for case in made.cases])


def _run(job: bytes, timeout: float) -> bytes | None:
    """What the child wrote, or None when it ran out of time. Its whole session is killed at the end."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            child.communicate(job, timeout=timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(child)
        output.seek(0)
        return output.read()


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave no process of the session behind, also none that the answer forked."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _compare(output: bytes, expected: Sequence[str]) -> Verdict:
    """The output is the child's and may be anything: all but a well-formed report counts as raised."""
    try:
        report = json.loads(output)
        results, raised = list(report["results"]), str(report["raised"])
    except (ValueError, KeyError, TypeError):
        return Verdict(Outcome.RAISED, "the process ended without a report")
    for place, wanted in enumerate(expected):
        if place >= len(results):
            return Verdict(Outcome.RAISED, f"case {place}: {raised or 'no result'}")
        if results[place] != wanted:
            return Verdict(Outcome.WRONG, f"case {place}: got {results[place]}, expected {wanted}")
    return Verdict(Outcome.PASSED)
