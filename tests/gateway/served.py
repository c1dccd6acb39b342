"""A real gateway process over a real database, and what its log says, decrypted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import openai

from engine.config import ModelConfig
from engine.model.network import Network
from engine.tokenizer import Tokenizer
from engine.train.saving import save
from engine.train.vocabulary import build
from gateway.bundles import Disclose, Made, export_log
from gateway.gateway_process import Process, gateway_process
from gateway.settings import DatabaseUrl, Settings
from tests.audit.writer_samples import TENANT
from tests.engine.small import small_config, small_network
from tests.gateway.forked import forked
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.tenant_log import TenantLog, text_of
from tests.plain import PLAIN, Asking
from tests.postgres_fixtures import Database


@dataclass(frozen=True, slots=True)
class Served:
    """One running gateway, a key of its tenant `acme`, and the parts of its log."""

    url: str
    key: str
    process: Process
    database: Database
    settings: Settings

    @property
    def model(self) -> str:
        """The served model's name."""
        return f"palimpsest-{self.settings.checkpoint.name}"

    def client(self) -> openai.OpenAI:
        """The official client, without retries."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=60, http_client=Asking())

    def post(self, body: Any, **headers: str) -> httpx.Response:
        """A raw POST to chat completions; `body` is bytes as they stand, or a document."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {self.key}", "content-type": "application/json"} | headers
        return httpx.post(
            f"{self.url}/v1/chat/completions", content=data, headers=given, timeout=60, trust_env=False, verify=PLAIN
        )

    def ready(self) -> bool:
        """Whether the gateway says that it can serve."""
        return httpx.get(f"{self.url}/health/ready", timeout=30, trust_env=False, verify=PLAIN).status_code == 200

    @property
    def log(self) -> TenantLog:
        """The tenant's log."""
        return TenantLog(self.database, self.settings.keys, self.settings.origin)

    def explained(self, request: UUID) -> str:
        """The text that the committed records of a request explain."""
        return text_of(self.log.bodies(request), Tokenizer.load(self.settings.checkpoint))

    def export(self, out: Path) -> Made:
        """The whole log, disclosed."""
        return export_log(self.settings, DatabaseUrl(self.database.reader_url), TENANT, out, Disclose.ALL)


def environ(**settings: str) -> dict[str, str]:
    """This process's environment with these PALIMPSEST_ settings and no others; torch's idle threads let others work."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PALIMPSEST_")}
    return kept | {"OMP_WAIT_POLICY": "passive"} | {f"PALIMPSEST_{name.upper()}": text for name, text in settings.items()}


@contextmanager
def serve(database: Database, home: Path, checkpoint: Path, **settings: str) -> Iterator[Served]:
    """A gateway over `database`; a second call with the same home is its next start."""
    urls = {"database_url": database.app_url, "reader_url": database.reader_url}
    given = environ(home=str(home), checkpoint=str(checkpoint), **urls, **settings)
    plant_tenant(database.app_url, TENANT)
    key = plant_key(database.app_url, TENANT).text
    with gateway_process(home / "gateway.log", given, start=forked) as running:
        yield Served(running.url, key, running.process, database, Settings.read(given))


def endless_checkpoint(folder: Path) -> Path:
    """Random weights whose answers end with a mask, which is never committed, so that a stream lasts as long as it is let."""
    small = small_config(vocab_size=1024)
    config: ModelConfig = replace(small, max_position_embeddings=4096, eos_token_id=small.mask_token_id)
    network = Network(config, lora_rank=4)
    network.load_state_dict(small_network(7, vocab_size=1024).state_dict())
    save(folder, network)
    build(folder)
    return folder
