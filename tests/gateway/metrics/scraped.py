"""A gateway's numbers as Prometheus would take them: asked for over HTTP and read by prometheus_client's own parser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.housed import Housed

TOKEN = "a-token-of-the-operator"


@dataclass(frozen=True, slots=True)
class Numbers:
    """One scrape."""

    text: str
    families: dict[str, Metric]

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample, `palimpsest_` left out; KeyError for one that is not told."""
        return self._samples()[f"palimpsest_{name}", frozenset(labels.items())]

    def by(self, name: str, label: str) -> dict[str, float]:
        """Values other than 0 of a name, summed by one of its labels."""
        found: dict[str, float] = {}
        for (sample, labels), value in self._samples().items():
            if sample == f"palimpsest_{name}" and value:
                key = dict(labels)[label]
                found[key] = found.get(key, 0) + value
        return found

    def labels(self) -> Iterator[tuple[str, str]]:
        """Every label of every sample."""
        return (pair for family in self.families.values() for sample in family.samples for pair in sample.labels.items())

    def _samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        samples = (sample for family in self.families.values() for sample in family.samples)
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


async def answer(inside: Housed, token: str | None = TOKEN) -> httpx.Response:
    """What `GET /metrics` says to this token, or to none."""
    headers = {b"authorization": b"" if token is None else b"Bearer " + token.encode("latin-1")}
    return await inside.client.get("/metrics", headers=headers)


async def scraped(inside: Housed) -> Numbers:
    """All numbers."""
    told = await answer(inside)
    assert told.status_code == 200, told.text
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Numbers(told.text, {family.name: family for family in text_string_to_metric_families(told.text)})
