"""The instruments of one application and their text, on a registry of their own: several applications share no number.

Whatever can be read when somebody asks is read then, in a thread that may look at a number while it changes; only durations
are taken down as they happen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

PREFIX: Final = "palimpsest"
Read: TypeAlias = Callable[[], float | Iterable[Observation] | None]
"""A number, several with labels, or None for one that is not known now and so is not told."""


class Meters:
    """Names are given without prefix and suffix: `http_requests` is told as `palimpsest_http_requests_total`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(
            disable_target_info=True, prefix=PREFIX, scope_info_enabled=False, registry=self._registry
        )
        self._provider = MeterProvider([reader], exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False)
        self._meter = self._provider.get_meter("palimpsest.gateway")
        self._turn = threading.Lock()
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, description: str, read: Read, unit: str = "") -> None:
        """Something that only grows."""
        self._meter.create_observable_counter(name, [_observing(read)], unit, description)

    def gauge(self, name: str, description: str, read: Read, unit: str = "") -> None:
        """Something that comes and goes."""
        self._meter.create_observable_gauge(name, [_observing(read)], unit, description)

    def seconds(self, name: str, description: str, bounds: Sequence[float]) -> Histogram:
        """Durations, to be recorded by whoever measures them; `bounds` are the upper ends of the buckets."""
        return self._meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=bounds)

    def text(self) -> bytes:
        """All numbers as they are now, in Prometheus' text form 0.0.4. Takes some milliseconds: call it in a thread."""
        with self._turn:  # the exporter would mix up two who ask at once
            return generate_latest(self._registry)

    def close(self) -> None:
        """Tell nothing any more."""
        self._provider.shutdown()


def _observing(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        found = read()
        if found is None:
            return ()
        return [Observation(found)] if isinstance(found, int | float) else found

    return observe
