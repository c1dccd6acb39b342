"""A disk that fills up: appends fail and say so, nothing is lost, and the same writer serves on once there is room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from audit.errors import AuditError
from tests.audit.writer_samples import Place, entry
from tests.faults.full_disk import Disk, small_disk, small_files
from tests.postgres_fixtures import Database
from tests.waiting import until

LONG = 4 * 1024 * 1024


@pytest.mark.parametrize("small", [small_disk, small_files])
async def test_a_full_disk_is_told_and_survived(
    durable: Place, small: Callable[[Database], AbstractContextManager[Disk]]
) -> None:
    """No append is acknowledged without room for it; what was stays whole, and later ones follow without a gap."""
    with small(durable.database) as disk:
        async with durable.writing(stall_seconds=3.0) as writer:

            async def complains() -> bool:
                with pytest.raises(AuditError) as refusal:
                    await writer.append([entry(f"lost{'x' * LONG}")])
                return disk.complaint in str(refusal.value)

            before = [f"{number}{'x' * LONG}" for number in range(5)]
            for text in before:
                await writer.append([entry(text)])
            disk.fill()
            await until(complains)
            disk.free()
            await until(lambda: writer.healthy)
            await writer.append([entry("after")])
        assert durable.said() == [*before, "after"]
        assert durable.verdict() == 0
