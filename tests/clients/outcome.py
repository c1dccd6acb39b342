"""What came of the loops, as a table for people and as a document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tests.clients.loops import Loop
from tests.clients.recorder import Exchange
from tests.clients.wire import faults, generation_of, unexplained
from tests.gateway.served import Served


@dataclass(frozen=True, slots=True)
class Outcome:
    """One loop that was run: what kept it from its end, if anything did, and all that was said."""

    loop: Loop
    served: Served
    why: str
    exchanges: list[Exchange]

    @property
    def finished(self) -> bool:
        """Whether the client came to its end and its file was written."""
        return not self.why

    def row(self, log: str) -> dict[str, Any]:
        """The row of the table; `log` is what the verifier had against the whole log."""
        on_wire = [fault for exchange in self.exchanges for fault in faults(exchange)]
        on_record = [fault for exchange in self.exchanges for fault in unexplained(self.served, exchange)]
        generations = {found for exchange in self.exchanges if (found := generation_of(exchange))}
        return {
            "client": self.loop.name,
            "version": self.loop.version,
            "model": self.served.model,
            "requests": len(self.exchanges),
            "finished": self.finished,
            "largest_request_bytes": max((len(exchange.asked) for exchange in self.exchanges), default=0),
            "generations": len(generations),
            "records": sum(len(self.served.log.bodies(generation)) for generation in generations),
            "verified": not (on_record or log),
            "faults": [*([self.why] if self.why else []), *on_wire, *on_record],
        }


def document(outcomes: Iterable[Outcome], log: str) -> dict[str, Any]:
    """All rows, and whether nothing was wrong; a loop without a generation shows nothing."""
    rows = [outcome.row(log) for outcome in outcomes]
    passed = not log and all(row["generations"] and not row["faults"] for row in rows)
    return {"rows": rows, "audit_verified": not log, "passed": passed}


def table(told: dict[str, Any]) -> Table:
    """The same for people."""
    shown = Table()
    for name in ("client", "version", "requests", "loop finished", "largest request, bytes", "records", "verified"):
        shown.add_column(name, justify="left" if name in ("client", "version") else "right")
    for row in told["rows"]:
        counts = (f"{row[name]:,}" for name in ("largest_request_bytes", "records"))
        ends = ("yes" if row[name] else "[red]no[/]" for name in ("finished", "verified"))
        shown.add_row(row["client"], row["version"], str(row["requests"]), next(ends), *counts, next(ends))
    return shown
