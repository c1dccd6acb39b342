"""No path to a release without a live quorum over exactly these bytes, whatever people do in whatever order."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from audit.verify import Verdict
from tests.gateway.approvals.bureau import TWO_LEADS, beside, staff
from tests.gateway.approvals.course import Course
from tests.gateway.approvals.signers import signers
from tests.gateway.tenant_log import TenantLog
from tests.postgres_fixtures import Database

ACTS = 40


def test_nothing_leaves_without_a_live_quorum_over_these_bytes(database: Database, tmp_path: Path) -> None:
    """Passwords, passkeys, loans, edits, revocations, other laws and broken glass, in two processes; and it all verifies."""
    log, people, came = TenantLog(database, tmp_path / "keys"), staff(database), Counter[str]()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        desks = tuple(runner.run(stack.enter_async_context(beside(log, TWO_LEADS, people))) for _ in range(2))
        hands = runner.run(signers(desks[0], "kay", "linus", "grace"))

        # Drawn by a seed, not rule by rule: an act costs a commit, so every one of them should be a likely one.
        @settings(max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(st.integers(0, 2**32))
        def courses(seed: int) -> None:
            course = Course((desks[0], desks[1]), Random(seed), hands)
            runner.run(course.go(ACTS))
            came.update(course.came)

        try:
            courses()
        finally:
            hands.passkeys.close()
            runner.run(stack.aclose())
    assert came["released"] and came["kept"] and came["asserted"] and came["not asserted"]
    report = log.verified(tmp_path / "out")
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
