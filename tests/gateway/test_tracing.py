"""Spans leave for the collector that the operator named, and carry ids and states alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway import tracing
from gateway.settings import SettingsError
from tests.engine.small import TINY
from tests.gateway.served import serve
from tests.postgres_fixtures import Database

SECRET = "zebrafish"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that takes whatever is posted, and what came."""
    bodies: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


def test_spans_arrive_and_say_nothing_of_what_was_said(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each generation is one span with its id, mode and outcome; no prompt, answer, key or tenant is in what was sent."""
    with collector() as (url, bodies):
        monkeypatch.setenv(tracing.ENDPOINT, url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with serve(database, tmp_path, TINY) as served:
            body = {"model": served.model, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 8, "temperature": 0}
            good, refused = served.post(body), served.post(body | {"max_tokens": 0})
        assert good.status_code == 200 and refused.status_code == 400
    spans = [span for sent in bodies for span in _spans(sent)]
    about = {"palimpsest.generation": good.headers["x-request-id"], "palimpsest.mode": "linear_spec"}
    assert spans == [("generation", about | {"palimpsest.outcome": "delivered"})]
    text = good.json()["choices"][0]["message"]["content"]
    for hidden in (SECRET, text, served.key, "acme", "max_tokens"):
        assert hidden and not any(hidden.encode() in sent for sent in bodies), hidden


def _spans(sent: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    for resource in ExportTraceServiceRequest.FromString(sent).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert not span.events
                yield span.name, {each.key: each.value.string_value for each in span.attributes}


def test_a_collector_without_its_exporter_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable set and the extra missing nothing starts, and the message says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"palimpsest\[otlp\]"):
        tracing.provider({tracing.ENDPOINT: "http://127.0.0.1:1"})


def test_without_a_collector_spans_go_nowhere() -> None:
    """No variable, no processor: nothing is kept or sent."""
    made = tracing.provider({})
    assert made._active_span_processor._span_processors == ()
