"""A real gateway process over a real database, and what its log says, decrypted."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import openai

from audit.keys import KeyStore
from audit.records import BlockTrace, Body, DecodeRun, SpecRounds
from audit.store import read_tenant
from audit.verify import Report, verify
from engine.config import ModelConfig
from engine.model.checkpoint import save
from engine.model.network import Network
from engine.tokenizer import Tokenizer
from engine.train.vocabulary import build
from gateway.bundles import Disclose, Made, export_log
from gateway.gateway_process import gateway_process
from gateway.recorded import bodies_of
from gateway.registry import Registry
from gateway.settings import DatabaseUrl, Settings
from tests.engine.small import small_config, small_network
from tests.postgres_fixtures import Database

TENANT = "acme"
TINY = Path(__file__).parents[2] / "engine" / "tiny"


@dataclass(frozen=True, slots=True)
class Served:
    """One running gateway, a key of its tenant `acme`, and the parts of its log."""

    url: str
    key: str
    process: subprocess.Popen[bytes]
    database: Database
    settings: Settings

    @property
    def model(self) -> str:
        """The served model's name."""
        return f"palimpsest-{self.settings.checkpoint.name}"

    def client(self) -> openai.OpenAI:
        """The official client, without retries."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=60)

    def post(self, body: Any, **headers: str) -> httpx.Response:
        """A raw POST to chat completions; `body` is bytes as they stand, or a document."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {self.key}", "content-type": "application/json"} | headers
        return httpx.post(f"{self.url}/v1/chat/completions", content=data, headers=given, timeout=60, trust_env=False)

    def ready(self) -> bool:
        """Whether the gateway says that it can serve."""
        return httpx.get(f"{self.url}/health/ready", timeout=30, trust_env=False).status_code == 200

    def bodies(self, request: UUID) -> list[Body]:
        """All records of one request, decrypted, in the order of the log."""
        with read_tenant(self.database.reader_url, TENANT) as reader:
            return list(bodies_of(reader, KeyStore(self.settings.keys), request))

    def size(self) -> int:
        """How many records the tenant's log has."""
        with read_tenant(self.database.reader_url, TENANT) as reader:
            return reader.size()

    def explained(self, request: UUID) -> str:
        """The text that the committed records of a request explain."""
        data = Tokenizer.load(self.settings.checkpoint).decode_bytes(recorded_ids(self.bodies(request)))
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=True)

    def export(self, out: Path) -> Made:
        """The whole log, disclosed."""
        return export_log(self.settings, DatabaseUrl(self.database.reader_url), TENANT, out, Disclose.ALL)

    def verified(self, out: Path) -> Report:
        """The offline verifier's word on a fresh export."""
        made = self.export(out)
        return verify(made.folder, [made.vkey], made.origin)


def recorded_ids(bodies: list[Body]) -> tuple[int, ...]:
    """The output ids of a request, from its records alone."""
    ids: list[int] = []
    for body in bodies:
        if isinstance(body, BlockTrace | DecodeRun):
            ids += body.output
        elif isinstance(body, SpecRounds):
            ids += [token for each in body.rounds for token in each.output]
    return tuple(ids)


@contextmanager
def serve(database: Database, home: Path, checkpoint: Path, **settings: str) -> Iterator[Served]:
    """A gateway over `database`; a second call with the same home is its next start."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PALIMPSEST_")} | {
        "PALIMPSEST_HOME": str(home),
        "PALIMPSEST_DATABASE_URL": database.app_url,
        "PALIMPSEST_READER_URL": database.reader_url,
        "PALIMPSEST_CHECKPOINT": str(checkpoint),
        "OMP_WAIT_POLICY": "passive",
    }
    environ |= {f"PALIMPSEST_{name.upper()}": text for name, text in settings.items()}
    key = _key(database)
    with gateway_process(home / "gateway.log", environ) as running:
        yield Served(running.url, key, running.process, database, Settings.read(environ))


def _key(database: Database) -> str:
    registry = Registry(DatabaseUrl(database.app_url))
    try:
        if TENANT not in registry.tenants():
            registry.create_tenant(TENANT)
        return registry.create_key(TENANT, "test").text
    finally:
        registry.close()


def endless_checkpoint(folder: Path) -> Path:
    """Random weights that never end a turn in `ar` at temperature 0, so that a stream lasts as long as it is let."""
    config: ModelConfig = replace(small_config(vocab_size=1024), max_position_embeddings=4096)
    network = Network(config, lora_rank=4)
    network.load_state_dict(small_network(7, vocab_size=1024).state_dict())
    save(folder, network)
    build(folder)
    return folder


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until the condition holds; an error names what did not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {condition}")
        time.sleep(0.05)
