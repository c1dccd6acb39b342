"""Runs one untrusted piece of Python and reports what its function returned. A script: `python -P -s -S jail.py`.

Standard input is a JSON job: `code`, `function`, and `calls`, each with `arguments` and, if they go by name, `names`. Standard
output is a JSON report: `results`, as `repr` gives them, and `raised`, the error that ended the run or an empty string.

Before the code is compiled the process locks itself in, for good, by a seccomp filter of the kernel: it may compute, use memory
within its limit, sleep, write to descriptors that are open already, and end. Every other system call fails: no file is
opened, no socket made, no process started, signalled or traced. The modules that answers may import are loaded before. It is
killed with the thread that started it, whatever ends that.
Without such a filter nothing is run and the exit status is 3. Expected results are never in this process.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import heapq
import itertools
import json
import math
import operator
import os
import platform
import re
import resource
import string
import struct
import sys
import typing

# Loaded for the code to import; it cannot open a file once the door is shut.
LOADED = (collections, functools, heapq, itertools, math, operator, re, string, typing)

LIMITS = (
    (resource.RLIMIT_CPU, 4),
    (resource.RLIMIT_AS, 1 << 29),
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_FSIZE, 1 << 20),
    (resource.RLIMIT_NOFILE, 32),
    (resource.RLIMIT_CORE, 0),
)

# Memory, time, signals to oneself as a handler's return, output, and the end. Numbers are the kernel's, per architecture.
# No madvise, which allocators can do without: some advice takes pages from the whole machine, and root may give it.
CALLS = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25,
        "nanosleep": 35, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "futex": 202, "restart_syscall": 219,
        "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318,
    },
    "aarch64": {
        "close": 57, "lseek": 62, "read": 63, "write": 64, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98,
        "nanosleep": 101, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_yield": 124,
        "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
        "gettimeofday": 169, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "getrandom": 278,
    },
}  # fmt: skip
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

PR_SET_PDEATHSIG, SIGKILL = 1, 9
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: load a word of the call, jump if equal, end with an action
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # REFUSE fails the call with EPERM
NUMBER, ARCHITECTURE = 0, 4  # where they stand in what the filter is shown
NO_JAIL = 3


class Program(ctypes.Structure):
    """The kernel's `sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def instructions(machine: str) -> bytes:
    """The filter: kill under a foreign architecture, allow what is listed, refuse the rest. KeyError for a strange machine."""
    allowed = sorted(CALLS[machine].values())
    program = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    program += [(EQUAL, len(allowed) - place, 0, number) for place, number in enumerate(allowed)]
    program += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *each) for each in program)


def lock(parent: int) -> bool:
    """Give up all but computing, and life without `parent`; false where this system cannot.

    Limits that a system lacks are covered by the filter.
    """
    for limit, bound in LIMITS:
        try:
            resource.setrlimit(limit, (bound, bound))
        except (OSError, ValueError):
            continue
    try:
        code = instructions(platform.machine())
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (KeyError, OSError, AttributeError):
        return False
    program = Program(len(code) // 8, code)
    if sys.platform != "linux" or prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    # Code that sleeps uses no processor time, so no limit would end what a killed judge leaves behind.
    if prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) or os.getppid() != parent:
        return False
    return bool(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def call(function: typing.Any, job: dict[str, typing.Any]) -> str:
    """What the function gives for one call."""
    if names := job["names"]:
        return repr(function(**dict(zip(names, job["arguments"], strict=True))))
    return repr(function(*job["arguments"]))


def main() -> None:
    """Read the job, lock the door, run the code, report."""
    parent = os.getppid()
    job = json.load(sys.stdin)
    # Results leave by a private copy of standard output, so that code that prints does not disturb them.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if not lock(parent):
        os._exit(NO_JAIL)
    results: list[str] = []
    raised = ""
    try:
        scope: dict[str, typing.Any] = {"__name__": "answer"}
        exec(compile(job["code"], "answer.py", "exec"), scope)  # noqa: S102  what this process is for
        function = scope[job["function"]]
        results.extend(call(function, each) for each in job["calls"])
    except BaseException as error:  # noqa: BLE001  code may raise anything, SystemExit included
        raised = f"{type(error).__name__}: {error}"
    json.dump({"results": results, "raised": raised}, report)
    report.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
