"""Work beside the pages: in turn, watched, ended with the process, and never lost without a word."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from gateway.errors import Overloaded
from gateway.jobs import WAITING_MOST, Job, Jobs, Watch
from gateway.registry import RegistryError
from tests.waiting import eventually


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """The jobs of a process."""
    made = Jobs()
    yield made
    made.stop()


def job(tenant: str = "acme") -> Job:
    """A piece of work."""
    return Job(tenant, "ada", "Counting", "sheep", "none.html")


def test_work_is_told_while_it_goes_on_and_when_it_is_over(jobs: Jobs) -> None:
    """How far it is, what it came to, and for whom it is known."""
    seen, go = Event(), Event()

    def count(watch: Watch) -> int:
        watch(2, 5)
        seen.set()
        assert go.wait(30)
        return 5

    begun = jobs.begin(job(), count)
    assert seen.wait(30) and begun.told == "Counting: 2 of 5 sheep." and not begun.over
    go.set()
    eventually(lambda: begun.over)
    assert (begun.found, begun.trouble, begun.told) == (5, "", "Counting: done.")
    assert jobs.find("acme", begun.id) is begun and jobs.find("globex", begun.id) is None


def test_trouble_is_told_in_words_and_a_fault_of_ours_without_its_details(jobs: Jobs) -> None:
    """A refusal says why; anything else names its kind alone."""

    def refused(watch: Watch) -> None:
        raise RegistryError("there is nothing to count")

    def broken(watch: Watch) -> None:
        raise KeyError("/secret/place")

    first, second = jobs.begin(job(), refused), jobs.begin(job(), broken)
    eventually(lambda: second.over)
    assert first.told == "Counting: there is nothing to count"
    assert "KeyError" in second.told and "secret" not in second.told


def test_too_much_work_is_refused_and_the_end_of_the_process_ends_it() -> None:
    """What waits is bounded; when the process ends what is under way stops at its next step and says so."""
    jobs, begun = Jobs(), Event()

    def endless(watch: Watch) -> None:
        while True:
            watch(1, 2)
            begun.set()

    waiting = [jobs.begin(job(), endless) for _ in range(WAITING_MOST)]
    with pytest.raises(Overloaded):
        jobs.begin(job(), endless)
    assert begun.wait(30)
    jobs.stop()
    assert all(each.over and "stopped before" in each.trouble for each in waiting)
