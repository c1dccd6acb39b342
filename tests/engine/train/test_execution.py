"""Laws of the judge of code: it names what happened, and code that it runs can reach nothing."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.train import execution, jail
from engine.train.execution import Outcome, Verdict, judge, judge_code
from engine.train.grammar import Case, Split, task
from tests.waiting import eventually

PATIENT = 30.0
"""For code that ends: so long no busy machine keeps it from that."""
CASES = (Case(([],), 0), Case(([1, 2, 3],), 6), Case(([-5],), -5))


def fenced(body: str) -> str:
    """A function of the given body in a fenced block."""
    lines = "\n    ".join(body.splitlines())
    return f"Here:\n```python\ndef f(xs):\n    {lines}\n```"


def ran(body: str, expected: object = True, timeout: float = PATIENT) -> Verdict:
    """What becomes of a body that is called once."""
    return judge_code(fenced(body), "f", (Case(([1],), expected),), timeout=timeout)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (fenced("return sum(xs)"), Outcome.PASSED),
        (fenced("print('noise'); return sum(xs)"), Outcome.PASSED),
        (fenced("import math, re, collections, itertools, typing; return sum(xs)"), Outcome.PASSED),
        (fenced("print('\\d'); return sum(xs)"), Outcome.PASSED),
        (fenced("return sum(xs)  # \x00"), Outcome.RAISED),
        (fenced("return float(sum(xs))"), Outcome.WRONG),
        (fenced("return len(xs)"), Outcome.WRONG),
        (fenced("return xs[0]"), Outcome.RAISED),
        (fenced("return sum(xs"), Outcome.RAISED),
        (fenced("return [0] * 10**9"), Outcome.RAISED),
        (fenced("return '\ud800'"), Outcome.RAISED),
        (fenced("import os; os._exit(0)"), Outcome.RAISED),
        (fenced("import os; os._exit(3)"), Outcome.RAISED),
        (fenced("raise SystemExit"), Outcome.RAISED),
        (fenced("return sum(xs)").replace("def f", "def g"), Outcome.RAISED),
        (fenced("import time; time.sleep(60)"), Outcome.TIMEOUT),
        ("def f(xs): return sum(xs)", Outcome.NO_CODE),
        (fenced("return sum(xs)").removesuffix("```"), Outcome.NO_CODE),
    ],
)
def test_the_judge_names_what_happened(answer: str, outcome: Outcome) -> None:
    """Right, wrong, failing, endless and missing code each get their own outcome."""
    verdict = judge_code(answer, "f", CASES, timeout=1.5 if outcome is Outcome.TIMEOUT else PATIENT)
    assert verdict.outcome is outcome, verdict
    assert bool(verdict.detail) is (outcome is not Outcome.PASSED)


def test_the_judge_passes_the_grammars_own_answer() -> None:
    """The right answer of a task passes its cases."""
    for seed in range(3):
        made = task(seed, Split.HELD_OUT)
        assert judge(made.answer, made).outcome is Outcome.PASSED


def test_arguments_go_by_name_where_the_case_names_them() -> None:
    """A parameter must then be called what it was asked to be called."""
    named = (Case(([2, 3],), 5, ("xs",)),)
    assert judge_code(fenced("return sum(xs)"), "f", named, timeout=PATIENT).outcome is Outcome.PASSED
    assert judge_code(fenced("return sum(xs)").replace("xs", "ys"), "f", named, timeout=PATIENT).outcome is Outcome.RAISED


REFUSED = """
    try:
        {attempt}
    except {errors}:
        return True
    return False
"""


@pytest.mark.parametrize(
    ("attempt", "errors"),
    [
        ("open('/etc/passwd')", "PermissionError"),
        ("open('here', 'w')", "PermissionError"),
        ("__import__('os').listdir('.')", "PermissionError"),
        ("__import__('os').mkdir('folder')", "PermissionError"),
        ("__import__('os').stat('/')", "PermissionError"),
        ("__import__('os').fork()", "PermissionError"),
        ("__import__('os').posix_spawn('/bin/true', ['true'], {})", "PermissionError"),
        ("__import__('os').execv('/bin/true', ['true'])", "PermissionError"),
        ("__import__('os').kill(__import__('os').getppid(), 0)", "PermissionError"),
        ("__import__('os').setsid()", "PermissionError"),
        ("__import__('_thread').start_new_thread(print, ())", "RuntimeError"),
        ("__import__('resource').setrlimit(9, (-1, -1))", "(PermissionError, ValueError)"),
        ("import socket", "ImportError"),
        ("import subprocess", "ImportError"),
        ("bytearray(1 << 30)", "MemoryError"),
    ],
)
def test_a_hostile_attempt_is_refused(attempt: str, errors: str) -> None:
    """Files, folders, processes, signals, threads, sockets and memory are out of reach; the process lives on and says so."""
    assert ran(REFUSED.format(attempt=attempt, errors=errors)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "numbers",
    [
        (41, 198),  # socket
        (56, 220),  # clone
        (435, 435),  # clone3
        (57, 220),  # fork
        (59, 221),  # execve
        (62, 129),  # kill
        (101, 117),  # ptrace
        (257, 56),  # openat
        (310, 270),  # process_vm_readv
        (28, 233),  # madvise, by which root takes pages of memory from the whole machine for good
        (425, 425),  # io_uring_setup
        (157, 167),  # prctl
        (41 | 1 << 30, 198),  # the x32 form of a number that a careless list would let pass
    ],
)
def test_a_raw_system_call_is_refused(numbers: tuple[int, int]) -> None:
    """Going round Python by ctypes meets the same filter, whatever the arguments are."""
    number = numbers[os.uname().machine == "aarch64"]
    body = f"""
    import ctypes
    ctypes.set_errno(0)
    failed = ctypes.CDLL(None, use_errno=True).syscall({number}, 2, 1, 0, 0, 0) == -1
    return failed and ctypes.get_errno() in (1, 38)
    """
    assert ran(body).outcome is Outcome.PASSED


def test_nothing_is_reached_though_it_is_there(tmp_path: Path) -> None:
    """A listening server sees no connection and a folder stays empty, whatever the code tries on both."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        body = f"""
        import ctypes, os
        libc = ctypes.CDLL(None)
        address = bytes((2, 0, {server.getsockname()[1]} >> 8, {server.getsockname()[1]} & 255, 127, 0, 0, 1)) + bytes(8)
        for end in range(3, 32):
            libc.connect(end, address, 16)
        libc.connect(libc.socket(2, 1, 0), address, 16)
        libc.creat({str(tmp_path / "made")!r}.encode(), 0o777)
        libc.symlink(b"/etc", {str(tmp_path / "link")!r}.encode())
        return True
        """
        assert ran("\n".join(line[8:] for line in body.splitlines())).outcome is Outcome.PASSED
        with pytest.raises(TimeoutError):
            server.accept()
    assert not list(tmp_path.iterdir())


def test_time_is_bounded_and_no_process_stays() -> None:
    """A busy loop ends with its limit of processor time or the judge's patience, and leaves nothing behind."""
    before = children()
    assert ran("while True: pass", timeout=0.8).outcome is Outcome.TIMEOUT
    assert children() == before


def children() -> set[str]:
    """Processes started by this one that run or wait to be collected."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


SLEEPING = """
from engine.train.execution import judge_code
from engine.train.grammar import Case
judge_code("```python\\nimport time\\ntime.sleep(600)\\n```", "f", (Case((), 0),), timeout=600)
"""


def test_a_judge_that_is_killed_leaves_no_answer_running() -> None:
    """Code that sleeps ends with the process that judges it, though that had no time to end it."""
    with subprocess.Popen([sys.executable, "-c", SLEEPING]) as judging:
        started = Path(f"/proc/{judging.pid}/task/{judging.pid}/children")
        try:
            eventually(lambda: any(map(locked, started.read_text().split())))
            (child,) = map(int, started.read_text().split())
            answer = os.pidfd_open(child)
        finally:
            judging.kill()
    ended = select.select([answer], [], [], PATIENT)[0]
    if not ended:
        os.kill(child, signal.SIGKILL)
    os.close(answer)
    assert ended


def locked(process: str) -> bool:
    """Whether a process has locked itself in; one that has gone has not."""
    try:
        return "Seccomp:\t2" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_the_same_answer_fares_the_same_every_time() -> None:
    """What depends on the order of a set of words does not depend on the run: strings hash alike in every child."""
    body = "return list(set('some words come in an order of their own'.split()))"
    assert len({ran(body, expected=[]).detail for _ in range(4)}) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"[" * 200_000,
        b"1" * 100_000,
        b'{"results": "True", "raised": ""}',
        b'{"results": {"0": "True"}}',
        b'{"results": [["True"]], "raised": ""}',
        b'[["True"], ""]',
        b"\xff\xfe",
        b"",
    ],
)
def test_a_forged_report_is_no_answer(said: bytes) -> None:
    """Whatever code writes in place of a report, deep nesting included, it counts as wrong and the judge goes on."""
    written = "\n".join(
        f"try: os.write({end}, {said[:40]!r} + {said[40:41]!r} * {max(0, len(said) - 40)})\nexcept OSError: pass"
        for end in range(3, 8)
    )
    verdict = ran(f"import os\n{written}\nos._exit(0)")
    assert verdict.outcome in {Outcome.RAISED, Outcome.WRONG} and len(verdict.detail) < 600


def test_output_is_bounded() -> None:
    """A result longer than the limit on output is an error, not a load on the judge."""
    verdict = ran("return 'x' * (1 << 22)", expected="x" * (1 << 22))
    assert verdict.outcome is not Outcome.PASSED and len(verdict.detail) < 600


def test_the_child_knows_nothing_of_its_parent() -> None:
    """The environment has but the hash seed and what Python itself sets, and the job holds arguments without results."""
    named = "import os\nreturn {name: text for name, text in os.environ.items() if name != 'LC_CTYPE'}"
    assert ran(named, expected={"PYTHONHASHSEED": "0"}).outcome is Outcome.PASSED
    job = "import sys\nframe = sys._getframe()\nwhile 'report' not in frame.f_locals: frame = frame.f_back"
    told = {"arguments": [[1]], "names": []}
    assert ran(f"{job}\nreturn frame.f_locals['job']['calls']", expected=[told]).outcome is Outcome.PASSED
    assert ran(f"{job}\nreturn sorted(frame.f_locals['job'])", ["calls", "code", "function"]).outcome is Outcome.PASSED


@pytest.mark.parametrize("machine", sorted(jail.CALLS))
def test_the_filter_decides_by_architecture_and_number(machine: str) -> None:
    """Read as the kernel reads it, the filter allows what is listed, refuses the rest and kills what is foreign."""
    code = jail.instructions(machine)
    own = jail.ARCHITECTURES[machine]
    allowed = set(jail.CALLS[machine].values())
    for number in (*range(500), 1 << 30, (1 << 30) + 1, 0xFFFFFFFF):
        assert filtered(code, own, number) == (jail.ALLOW if number in allowed else jail.REFUSE)
    assert filtered(code, 0x40000003, min(allowed)) == jail.KILL


def filtered(code: bytes, architecture: int, number: int) -> int:
    """The action of a BPF program of loads, jumps and returns."""
    place, word = 0, 0
    while True:
        operation, yes, no, value = struct.unpack_from("HBBI", code, place * 8)
        place += 1
        if operation == jail.RETURN:
            return int(value)
        if operation == jail.LOAD:
            word = number if value == jail.NUMBER else architecture
        else:
            place += yes if word == value else no


def test_without_a_jail_nothing_runs(tmp_path: Path) -> None:
    """Where the filter cannot be set the child runs no code and says so by its status."""
    script = Path(jail.__file__).read_text()
    broken = tmp_path / "jail.py"
    broken.write_text(script.replace("SECCOMP_MODE_FILTER = 38, 22, 2", "SECCOMP_MODE_FILTER = 38, 22, 99"))
    mark = tmp_path / "mark"
    job = f'{{"code": "open({str(mark)!r}, \'w\')", "function": "f", "calls": []}}'
    done = subprocess.run([sys.executable, "-I", "-S", str(broken)], input=job.encode(), capture_output=True, check=False)
    assert done.returncode == execution.NO_JAIL == jail.NO_JAIL and not done.stdout and not mark.exists()


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 127\n", "#!/bin/sh\nexit 0\n"])
def test_a_jail_that_cannot_run_is_no_wrong_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An interpreter that does not start without this environment is named, and no answer is called wrong by it."""
    broken = tmp_path / "python"
    broken.write_text(script)
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    execution.require_jail.cache_clear()
    with pytest.raises(execution.JailUnavailable, match="isolated"):
        ran("return True")
