"""Questions to the recorded traffic of a tenant: why something was decided so, and what another policy would have decided.

Only records that hold figures, names and states are opened. Everything here blocks.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import policies
from audit.keys import KeyStore
from audit.laws import Laws
from audit.lifecycle import read_standing
from audit.store import read_tenant
from gateway.law.docket import Docket, Watch, read_case, read_docket
from gateway.law.known import in_force, known_policies
from gateway.law.reports import Table, compared, explained, missing, swept
from gateway.registry import RegistryError
from gateway.settings import DatabaseUrl

DAY: Final = 86_400_000_000
"""Microseconds."""
UNREPRODUCED_SHOWN: Final = 20


class BadPolicy(RegistryError):
    """A document that cannot be used; the message has every fault, a line each."""


@dataclass(frozen=True, slots=True)
class Study:
    """An answer as tables with their titles, and remarks; `trouble` is what puts the figures in doubt."""

    tables: tuple[tuple[str, Table], ...]
    remarks: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Studies:
    """The recorded traffic of one tenant. `shipped` is the policy in force before the first change."""

    reader_url: DatabaseUrl
    keys: KeyStore
    tenant: str
    shipped: policies.Policy

    def laws(self) -> Laws:
        """The policy changes on record."""
        return read_standing(self.reader_url, self.tenant, self.keys).laws

    def active(self) -> policies.Policy:
        """The policy in force by the log. Raises PolicyError for one of another release."""
        return in_force(self.tenant, self.laws(), self.shipped)

    def case(self, generation: UUID) -> tuple[policies.Row, policies.Policy] | None:
        """A recorded request and the policy that judged it, in force or not; None where its records do not suffice."""
        known = known_policies(self.laws(), self.shipped)
        with read_tenant(self.reader_url, self.tenant) as reader:
            return read_case(reader, self.keys, generation, known)

    def docket(self, active: policies.Policy, since: int, watch: Watch | None = None) -> Docket:
        """The requests that this policy judged since then, in microseconds since 1970."""
        with read_tenant(self.reader_url, self.tenant) as reader:
            return read_docket(reader, self.keys, active, since, watch)

    def explain(self, generation: UUID) -> Study | None:
        """Each route, budget, gate and rule that was asked about a request and its units; None where records do not suffice."""
        found = self.case(generation)
        if found is None:
            return None
        row, law = found
        told = [("The request and its answer", explained(policies.explain(law, row.facts, answer=row.answer)))]
        for at, (unit, _) in enumerate(row.units):
            told.append((f"Unit {at + 1}", explained(policies.explain(law, row.facts, unit), law)))
        return Study(tuple(each for each in told if each[1][1]), (_verdict(policies.decide(law, row.facts)),))

    def replay(self, candidate: policies.Policy | None, days: int | None, watch: Watch) -> Study:
        """The candidate beside the policy in force, which must reproduce what is on record; None checks only that."""
        active = self.active()
        docket = self.docket(active, _since(days), watch)
        report = policies.replay(active, candidate or active, docket.rows)
        told = [(f"{report.rows} requests over {report.days} days", compared(report, active.document.prices.currency))]
        if report.changed:
            told.append(("Decided otherwise", _changed(report)))
        failed = [f"{each.row}: {', '.join(each.differences)}" for each in report.unreproduced[:UNREPRODUCED_SHOWN]]
        return Study(tuple(told), tuple(missing(docket)), tuple(failed))

    def sweep(self, metric: policies.Metric, thresholds: Sequence[float], days: int | None, watch: Watch) -> Study:
        """Every threshold on one figure moved. Raises ValueError if the policy in force has none on it."""
        active = self.active()
        docket = self.docket(active, _since(days), watch)
        points = policies.sweep(active, docket.rows, metric, thresholds)
        return Study(((f"{metric.value} over {len(docket.rows)} requests", swept(points)),), tuple(missing(docket)))


def accepted(name: str, text: str, world: policies.World) -> policies.Policy:
    """The policy of a TOML document, which may inherit from a shipped one and use the names of `world`.

    Raises BadPolicy with all that is wrong with it.
    """
    with tempfile.TemporaryDirectory(prefix="policy-") as folder:
        file = Path(folder) / f"{name}.pasted.toml"  # no parent can be called so, or a tenant `strict` would be its own
        file.write_text(text.replace("\r\n", "\n"), encoding="utf-8")
        found = policies.check(file, world)
    if isinstance(found, policies.Policy):
        return found
    raise BadPolicy("\n".join(str(finding).replace(f"{file.parent}/", "") for finding in found))


def _verdict(verdict: policies.Decision | policies.Refusal) -> str:
    if isinstance(verdict, policies.Decision):
        return f"admitted, in mode {verdict.mode.value}; text leaves {_LEAVES[verdict.release]}"
    return f"refused with {verdict.code.value}: {verdict.reason}"


_LEAVES: Final = {policies.Release.STREAM: "as it is made", policies.Release.WHOLE: "once the whole answer has its verdict"}


def _since(days: int | None) -> int:
    return 0 if days is None else time.time_ns() // 1000 - days * DAY


def _changed(report: policies.Report) -> Table:
    rows = [(each.row, each.old.value, each.new.value, "yes" if each.estimated else "no") for each in report.changed[:200]]
    return ("request", "in force", "candidate", "estimated"), rows
