"""Whatever happens in whatever order, the accounts say what a few lines of arithmetic say."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from policies import Unit
from tests.gateway.budgets.drawing import Teller, ask, budget, used

TOKENS, MONEY = budget(Unit.TOKENS, "100"), budget(Unit.MONEY, "1.5")
OPEN, REQUESTS = budget(Unit.CONCURRENCY, "3"), budget(Unit.REQUESTS, "8")
AMOUNTS = {each.id: each.exact for each in (TOKENS, MONEY, OPEN, REQUESTS)}
TENTHS = st.integers(0, 15).map(lambda tenths: Decimal(tenths) / 10)
HALF_WINDOW = 31.0
"""Two of these are past any minute's last slice, one is not."""


@dataclass
class Held:
    """What a request has reserved, as a few lines of arithmetic know it."""

    tokens: int
    money: Decimal
    age: int = 0
    open: bool = True
    paid_tokens: int = 0
    paid_money: Decimal = Decimal(0)


@dataclass
class Model:
    """Leases by request; what was spent, of each budget an amount and how often half a window has passed since; and how much
    of it was told only after the request had been settled, so that no room was kept for it."""

    leases: dict[UUID, Held] = field(default_factory=dict)
    spent: list[tuple[str, Decimal, int]] = field(default_factory=list)
    late: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(AMOUNTS, Decimal(0)))

    def reserved(self, name: str) -> Decimal:
        held = [lease for lease in self.leases.values() if lease.open]
        money = sum((one.money for one in held), Decimal(0))
        sums = {"tokens": Decimal(sum(one.tokens for one in held)), "money": money, "concurrency": Decimal(len(held))}
        return sums.get(name, Decimal(0))

    def taken(self, name: str) -> Decimal:
        spent = (amount for of, amount, age in self.spent if of == name and age < 2)
        return self.reserved(name) + sum(spent, Decimal(0))

    def fits(self, tokens: int, money: Decimal) -> bool:
        needs: dict[str, Decimal | int] = {"tokens": tokens, "money": money, "concurrency": 1, "requests": 1}
        return all(self.taken(name) + Decimal(needs[name]) <= amount for name, amount in AMOUNTS.items())


class Traffic(RuleBasedStateMachine):
    """Requests come, end, end again, never come to be, and time passes."""

    bank: Teller
    requests: Bundle[UUID] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        with psycopg.connect(self.bank.database.superuser_url) as connection:
            connection.execute("TRUNCATE app.budget_account, app.budget_slice, app.budget_lease, app.budget_reservation")

    def reserve(self, request: UUID, tokens: int, money: Decimal) -> bool:
        asks = (ask(TOKENS, tokens), ask(MONEY, str(money)), ask(OPEN), ask(REQUESTS))
        return self.bank.reserve(*asks, request=request) == []

    @rule(target=requests, tokens=st.integers(0, 120), money=TENTHS)
    def comes(self, tokens: int, money: Decimal) -> UUID:
        request, fits = uuid4(), self.model.fits(tokens, money)
        assert self.reserve(request, tokens, money) is fits
        if fits:
            self.model.leases[request] = Held(tokens, money)
            self.model.spent.append(("requests", Decimal(1), 0))
        return request

    @rule(request=requests, tokens=st.integers(0, 120))
    def comes_again(self, request: UUID, tokens: int) -> None:
        if request in self.model.leases:
            assert self.reserve(request, tokens, Decimal(0))

    @rule(request=requests, share=st.floats(0, 1))
    def ends(self, request: UUID, share: float) -> None:
        lease = self.model.leases.get(request, Held(0, Decimal(0)))
        tokens, money = int(lease.tokens * share), lease.money * int(share * 10) / 10
        assert self.bank.accounts.settle(request, used(tokens=tokens, money=str(money))) is (request in self.model.leases)
        more = {"tokens": Decimal(max(0, tokens - lease.paid_tokens)), "money": max(Decimal(0), money - lease.paid_money)}
        for name, amount in more.items():
            self.model.spent.append((name, amount, 0))
            self.model.late[name] += 0 if lease.open else amount
        lease.open = False
        lease.paid_tokens, lease.paid_money = max(tokens, lease.paid_tokens), max(money, lease.paid_money)

    @rule(request=consumes(requests))
    def never_was(self, request: UUID) -> None:
        lease = self.model.leases.get(request)
        assert self.bank.accounts.cancel(request) is (lease is not None and lease.open)
        if lease is not None and lease.open:
            del self.model.leases[request]
            self.model.spent.append(("requests", Decimal(-1), lease.age))

    @rule()
    def time_passes(self) -> None:
        self.bank.later(HALF_WINDOW)
        self.model.spent = [(name, amount, age + 1) for name, amount, age in self.model.spent]
        for lease in self.model.leases.values():
            lease.age += 1

    @invariant()
    def the_accounts_agree(self) -> None:
        told = self.bank.standing()
        assert told.keys() <= AMOUNTS.keys()
        for name, amount in AMOUNTS.items():
            reserved, spent = (told[name].reserved, told[name].spent) if name in told else (0, 0)
            assert reserved == self.model.reserved(name)
            assert reserved + spent == self.model.taken(name)
            assert self.model.taken(name) <= amount + self.model.late[name]


def test_accounts_are_arithmetic(bank: Teller) -> None:
    """Over any course of requests, what is reserved and spent is the sum of what they hold and used, within every amount."""
    machine = type("TrafficHere", (Traffic,), {"bank": bank})
    course = settings(
        max_examples=8,
        stateful_step_count=20,
        phases=(Phase.reuse, Phase.generate),  # a course is short enough to read; to shorten it would take minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=course)
