"""Any course of acts on held answers through two processes, beside a few lines that say who may let what go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from audit.approvals import content_digest
from gateway.approvals.choices import Approve, BreakGlass, Cleared, Delegate, NotDecided, Reject, TestResult
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.bureau import ONE, TESTED, TWO_LEADS, Bureau
from tests.gateway.approvals.signers import Signers

LAWS = {"two leads": TWO_LEADS, "one": ONE, "tested": TESTED}
LEADS, APPROVERS = {"ada", "grace", "kay", "linus"}, {"ada", "grace", "kay", "linus", "alan"}
PEOPLE = ("ada", "ada", "grace", "grace", "kay", "kay", "linus", "alan", "olga", "eve")
TEXTS = ("def held(): ...\n", "x = 1\n", "print('hello')\n")


@dataclass
class Answer:
    """What should be true of one held answer."""

    text: str
    law: str
    involved: set[str] = field(default_factory=lambda: {"linus"})
    approved: dict[str, str | None] = field(default_factory=dict)
    """Who approved, and for whom."""
    glass: bool = False
    passed: dict[str, bool] = field(default_factory=dict)
    statements: set[bytes] = field(default_factory=set)
    """What passkeys have signed here, in any cycle."""
    over: bool = False
    released: bool = False
    recalled: bool = False

    def begin_cycle(self, law: str) -> None:
        self.law, self.approved, self.passed, self.glass = law, {}, {}, False

    def eligible(self, person: str, lender: str | None) -> bool:
        right = lender or person
        free = not {person, lender} & self.involved
        return free and right in (LEADS if self.law == "two leads" else APPROVERS)

    def fresh(self, person: str, lender: str | None) -> bool:
        used = {*self.approved, *self.approved.values()} - {None}
        return not {person, lender} & used

    def tested(self) -> bool:
        return self.law != "tested" or (bool(self.passed) and all(self.passed.values()))

    def may_go(self) -> bool:
        """The live quorum, counted by hand."""
        quorum = 2 if self.law == "two leads" else 1
        counted = [person for person, lender in self.approved.items() if self.eligible(person, lender)]
        return self.glass or (len(counted) >= quorum and self.tested())


class Course:
    """Each act goes to one of two processes; what comes of it is what the few lines say."""

    def __init__(self, desks: tuple[Bureau, Bureau], random: Random, signers: Signers) -> None:
        self.desks, self.random, self.signers = desks, random, signers
        self.known: dict[UUID, Answer] = {}
        self.in_force = "two leads"
        self.loan: Any = None
        self.came: Counter[str] = Counter()
        self.enacted("two leads")

    async def go(self, steps: int) -> None:
        """So many acts, each on one of the answers that are held or were."""
        acts = {
            self.held: 2, self.approves: 10, self.asserts: 5, self.is_fetched: 5, self.takes_back: 2, self.edits: 1,
            self.is_tested: 3, self.breaks_the_glass: 1, self.rejects: 1, self.is_recalled: 1, self.lends_or_ends: 2,
            self.other_law: 1,
        }  # fmt: skip
        await self.held()
        await self.asserts("grace")
        await self.asserts("linus")
        for act in self.random.choices(list(acts), list(acts.values()), k=steps):
            await act()
        if self.loan is not None:  # the log goes on, and the next course begins without one
            await self.lends_or_ends()

    @property
    def desk(self) -> Bureau:
        """Either process."""
        return self.random.choice(self.desks)

    def one(self) -> tuple[UUID, Answer]:
        """Most often the newest answer."""
        newest = list(self.known)[-2:]
        generation = self.random.choice((*newest, *self.known, newest[-1], newest[-1]))
        return generation, self.known[generation]

    def enacted(self, law: str) -> None:
        """From now on, in both processes."""
        self.in_force = law
        for each in self.desks:
            each.enact(LAWS[law])

    def refused(self, answer: Answer, person: str, came: object) -> bool:
        """Whether the act met another law, an end or a stranger, and was refused for it; a cycle under the law has begun."""
        outdated = not answer.over and answer.law != self.in_force
        if outdated:
            answer.begin_cycle(self.in_force)
        why = "stale_binding" if outdated else "unknown" if person == "eve" else "ended" if answer.over else ""
        if why:
            assert isinstance(came, NotDecided) and came.code == why, (came, answer)
            self.came[why] += 1
        return bool(why)

    async def other_law(self) -> None:
        self.enacted(self.random.choice(list(LAWS)))

    async def held(self) -> None:
        text = self.random.choice(TEXTS)
        self.known[await self.desk.held(text)] = Answer(text, self.in_force)

    async def approves(self) -> None:
        (generation, answer), desk, person = self.one(), self.desk, self.random.choice(PEOPLE)
        lender = "ada" if self.random.random() < 0.2 else None
        stale = self.random.random() < 0.1
        choice = Approve(content_digest("other" if stale else answer.text), on_behalf_of=lender)
        came = await desk.approvals.decide(TENANT, generation, choice, desk.people[person])
        if self.refused(answer, person, came):
            return
        may = lender is None or (person == "alan" and self.loan is not None)
        good = may and not stale and answer.fresh(person, lender) and answer.eligible(person, lender) and answer.tested()
        assert isinstance(came, NotDecided) is not good, (came, answer)
        if good:
            answer.approved[person] = lender

    async def asserts(self, person: str | None = None) -> None:
        """With a passkey: for the cycle that is open, or once more with what was signed for this or another one before."""
        (generation, answer), desk = self.one(), self.desk
        person = person or self.random.choice(list(self.signers.keys))
        case = await desk.approvals.find(TENANT, generation)
        assert case is not None
        before, again = self.signers.signed[person], self.random.random() < 0.4
        by = self.random.choice(before[-3:]) if again and before else await self.signers.sign(person, case.opened.binding)
        choice = Approve(content_digest(answer.text), binding=case.opened.binding)
        came = await desk.approvals.decide(TENANT, generation, choice, by)
        if self.refused(answer, person, came):
            return
        signed = by.challenge == case.opened.binding and by.assertion.statement not in answer.statements
        good = signed and answer.fresh(person, None) and answer.eligible(person, None) and answer.tested()
        assert isinstance(came, NotDecided) is not good, (came, answer)
        self.came["asserted" if good else "not asserted"] += 1
        if good:
            answer.approved[person] = None
            answer.statements.add(by.assertion.statement)
            if self.random.random() < 0.5:  # taken back, it counts no second time
                await desk.approvals.revoke(TENANT, generation, "no", desk.people[person])
                assert isinstance(await desk.approvals.decide(TENANT, generation, choice, by), NotDecided)
                del answer.approved[person]

    async def rejects(self) -> None:
        (generation, answer), desk, person = self.one(), self.desk, self.random.choice(("kay", "linus"))
        came = await desk.approvals.decide(
            TENANT, generation, Reject(content_digest(answer.text), "wrong"), desk.people[person]
        )
        if not self.refused(answer, person, came):
            good = answer.fresh(person, None) and answer.eligible(person, None)
            assert isinstance(came, NotDecided) is not good
            answer.over = good

    async def breaks_the_glass(self) -> None:
        (generation, answer), desk, person = self.one(), self.desk, self.random.choice(("olga", "linus", "eve"))
        choice = BreakGlass(content_digest(answer.text), "fire")
        came = await desk.approvals.decide(TENANT, generation, choice, desk.people[person])
        if not self.refused(answer, person, came):
            good = person == "olga" and answer.fresh("olga", None)
            assert isinstance(came, NotDecided) is not good
            if good:
                answer.glass, answer.approved["olga"] = True, None

    async def edits(self) -> None:
        (generation, answer), desk, person = self.one(), self.desk, self.random.choice(("grace", "olga"))
        text, looked_at = self.random.choice(TEXTS), content_digest(answer.text)
        came = await desk.approvals.edit(TENANT, generation, text, "better", desk.people[person], looked_at)
        if not self.refused(answer, person, came):
            good = answer.law == "two leads" and person == "grace"
            assert isinstance(came, NotDecided) is not good
            if good:
                answer.begin_cycle(self.in_force)
                answer.text = text
                answer.involved.add(person)

    async def takes_back(self) -> None:
        (generation, answer), desk, person = self.one(), self.desk, self.random.choice(PEOPLE)
        came = await desk.approvals.revoke(TENANT, generation, "no", desk.people[person])
        if not self.refused(answer, person, came):
            assert isinstance(came, NotDecided) is (person not in answer.approved)
            answer.approved.pop(person, None)
            answer.glass = answer.glass and person != "olga"

    async def is_tested(self) -> None:
        (generation, answer), desk = self.one(), self.desk
        name, passed = self.random.choice(("unit", "lint")), self.random.random() < 0.8
        result = TestResult(content_digest(answer.text), name, passed)
        came = await desk.approvals.attach_result(TENANT, generation, result, desk.people["kay"])
        if not self.refused(answer, "kay", came):
            assert not isinstance(came, NotDecided)
            answer.passed[name] = passed

    async def lends_or_ends(self) -> None:
        desk, now = self.desk, datetime.now(UTC)
        if self.loan is None:
            lent = Delegate("alan", now - timedelta(minutes=1), now + timedelta(hours=1), "on leave")
            self.loan = await desk.approvals.delegate(TENANT, lent, desk.people["ada"])
        else:
            await desk.approvals.end_delegation(TENANT, self.loan.delegation, desk.people["ada"])
            self.loan = None

    async def is_recalled(self) -> None:
        generation, answer = self.one()
        came = await self.desk.approvals.after_release(TENANT, generation, "recall", "wrong", self.desk.people["ada"])
        if not answer.over and answer.law != self.in_force:
            answer.begin_cycle(self.in_force)
        assert isinstance(came, NotDecided) is not answer.released
        answer.recalled = answer.released

    async def is_fetched(self) -> None:
        """What all else is for: the very text leaves if, and only if, a live quorum stands over it."""
        generation, answer = self.one()
        came = await self.desk.approvals.release(TENANT, generation, generation)
        if not answer.over and answer.law != self.in_force:
            answer.begin_cycle(self.in_force)
        good = (answer.released and not answer.recalled) or (not answer.over and answer.may_go())
        assert isinstance(came, Cleared) is good, (came, answer)
        self.came["released" if good else "kept"] += 1
        if isinstance(came, Cleared):
            assert came.text == answer.text and came.case.content_sha256 == content_digest(answer.text)
            answer.released = answer.over = True
