"""Everything that is told at `GET /metrics`, by name: what it means and where it is read. gateway/README.md lists the same."""

from __future__ import annotations

import time
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import Observation

from engine.figures import Figures
from gateway.release_name import release_name

if TYPE_CHECKING:
    from gateway.house import House

_ENGINE_TOTALS: Final = (
    ("engine_passes", "Passes of the network.", "passes"),
    ("engine_rows", "Rows of all passes; by passes: how full they are.", "rows"),
    ("engine_preemptions", "Generations that gave their pages back because pages ran out.", "preemptions"),
    ("engine_prefix_tokens", "Prompt tokens of the generations that began.", "prompt_tokens"),
    ("engine_prefix_hit_tokens", "Those of them whose keys and values were in the prefix cache.", "cached_tokens"),
)
_SEQUENCES: Final = ("running", "preempted", "waiting")


def declare(house: House) -> None:
    """Make every instrument that reads the parts of this house."""
    _traffic(house)
    _work(house)
    _engine(house)
    _log(house)
    _outside(house)
    _tables(house)
    house.numbers.meters.gauge(
        "build_info", "1, with what this process is in its labels.", lambda: [Observation(1, _build(house))]
    )


def _build(house: House) -> dict[str, str]:
    settings = house.settings
    about = {"model": settings.model, "numeric": settings.numeric.value, "device": settings.device}
    return {"version": release_name()} | about


def _traffic(house: House) -> None:
    meters, traffic = house.numbers.meters, house.numbers.traffic
    meters.counter("http_requests", "Requests that were answered, by class of status.", traffic.requests.observed)
    meters.counter("http_refusals", "Requests that ended in an error of ours, by its code.", traffic.refusals.observed)
    meters.gauge("http_requests_open", "Requests whose answer has not ended.", lambda: traffic.open)
    meters.gauge("http_streams_open", "Event streams whose answer has not ended.", traffic.streams.observed)
    refused = house.keyring.refused
    meters.counter("unauthenticated", "401 answers, which no log records, by what was wrong.", refused.observed)


def _work(house: House) -> None:
    meters, work = house.numbers.meters, house.numbers.work
    meters.counter("generations", "Generations that ended, by the way they did.", work.generations.observed)
    meters.gauge("generations_open", "Generations with a seat, admission to close.", lambda: house.seats.taken)
    meters.gauge("generations_limit", "How many seats there are.", lambda: house.settings.max_generations)
    meters.counter("prompt_tokens", "Tokens of prompts, of generations that ended.", work.prompt_tokens.observed)
    meters.counter("completion_tokens", "Tokens that were generated.", work.completion_tokens.observed)
    meters.counter("forwards", "Passes after prefill with rows of the generation.", work.forwards.observed)
    meters.counter("device_busy", "Device time, shared out by rows.", work.busy_seconds.observed, "s")
    meters.gauge("held_answers", "Held answers of all tenants that wait.", house.held.by_state)
    meters.gauge("held_answers_oldest", "Age of the oldest one without a decision.", house.held.oldest_seconds, "s")


def _engine(house: House) -> None:
    meters, figures = house.numbers.meters, house.intake.engine.figures
    meters.gauge("engine_up", "1 while the engine takes requests.", lambda: int(house.engine.alive))
    for name, description, field in _ENGINE_TOTALS:
        meters.counter(name, description, lambda read=attrgetter(field): read(figures()))  # type: ignore[misc]
    meters.gauge("engine_sequences", "Generations in the engine.", lambda: _sequences(figures()))
    meters.gauge("engine_kv_pages", "Pages of keys and values; their sum is all there are.", lambda: _pages(figures()))


def _sequences(figures: Figures) -> list[Observation]:
    return [Observation(getattr(figures, state), {"state": state}) for state in _SEQUENCES]


def _pages(figures: Figures) -> list[Observation]:
    free = figures.pages - figures.pages_owned - figures.pages_remembered
    states = {"owned": figures.pages_owned, "remembered": figures.pages_remembered, "free": free}
    return [Observation(count, {"state": state}) for state, count in states.items()]


def _log(house: House) -> None:
    meters, writer, upkeep = house.numbers.meters, house.writer, house.upkeep
    meters.gauge("audit_up", "1 while the log commits and is signed, for every tenant.", lambda: int(writer.healthy))
    meters.gauge("audit_catalog_intact", "1 while the guards of the database are ours.", lambda: int(upkeep.intact))
    meters.gauge("audit_queue_records", "Records that wait for a commit.", lambda: writer.waiting.records)
    meters.gauge("audit_queue_bytes", "The size of those records.", lambda: writer.waiting.size)
    meters.gauge("audit_unsigned", "Age of growth without a checkpoint.", lambda: writer.waiting.unsigned_seconds, "s")
    meters.gauge("audit_broken_logs", "Logs that take no records until somebody looked.", lambda: writer.waiting.broken)
    meters.counter("audit_records", "Records that this process made durable.", lambda: house.numbers.commits.records)


def _outside(house: House) -> None:
    meters, carrier, witnesses = house.numbers.meters, house.carrier, house.witnesses
    meters.counter("checkpoints_shipped", "Checkpoints that a place has taken.", carrier.shipped.observed)
    meters.counter("checkpoint_shipping_failures", "Attempts that a place did not take.", carrier.failures.observed)
    meters.counter("checkpoints_cosigned", "Checkpoints that a witness has cosigned.", witnesses.cosigned.observed)
    meters.counter("cosigning_failures", "Questions that a witness did not answer so.", witnesses.failures.observed)
    meters.counter("webhooks_told", "Events that a place has taken, by host.", lambda: _by_host(house.webhooks.told()))
    meters.counter("webhook_failures", "Attempts that failed, by host.", lambda: _by_host(house.webhooks.failures()))


def _by_host(counts: Counter[str]) -> list[Observation]:
    return [Observation(count, {"place": host}) for host, count in counts.items()]


def _tables(house: House) -> None:
    meters, projector = house.numbers.meters, house.projector
    meters.gauge("projections_lag_records", "Records of all logs that the tables do not have.", lambda: projector.behind)
    age = lambda: time.monotonic() - projector.caught_up_at  # noqa: E731
    meters.gauge("projections_age", "Since the tables last had everything there was.", age, "s")
