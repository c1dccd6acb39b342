"""Where spans go: to `OTEL_EXPORTER_OTLP_ENDPOINT` by OTLP over HTTP where that is set, else nowhere.

A span carries ids, states and counts. No prompt, answer, key or message of an error is ever put into one.
"""

# ruff: noqa: PLC0415 - the exporter is an extra, and only who asks for it needs it

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gateway.settings import SettingsError

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


def provider(environ: Mapping[str, str]) -> TracerProvider:
    """The provider of this process; the exporter reads the other OTEL_EXPORTER_OTLP_* variables itself.

    Raises SettingsError where the variable is set and the exporter is not installed.
    """
    made = TracerProvider(resource=Resource.create({SERVICE_NAME: environ.get("OTEL_SERVICE_NAME") or "palimpsest"}))
    if environ.get(ENDPOINT):
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise SettingsError(f"{ENDPOINT} is set but its exporter is missing: pip install 'palimpsest[otlp]'") from error
        made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made
