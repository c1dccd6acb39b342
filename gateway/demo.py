"""The demo: the whole straight line on real input, ended by an offline proof.

Database and gateway are started, a tenant and a key are made, held-out questions are asked in every mode through the openai
client at temperature 0 and at 0.8 with one seed, one more answer waits until a person approves it, the gateway is stopped, and
its log is exported and verified by `python -m audit verify` in a process of its own. Exit status 0 only if all of that held.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import openai
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from audit.acts import Export
from audit.export import Format
from audit.keys import KeyStore
from audit.store import read_tenant
from engine.tokenizer import Tokenizer
from engine.train.grammar import Split, Task, task
from gateway.bundles import Disclose, Made, export_log, require_log
from gateway.database import Urls, open_database
from gateway.demo_approver import ApiRefused, Approver
from gateway.demo_drafts import story
from gateway.demo_held import HeldOnce, NotHeld, People, hold_one
from gateway.demo_table import MODES, Row, document, lossless, table
from gateway.gateway_process import GatewayDown, gateway_process
from gateway.guest import guest
from gateway.on_record import put_on_record, record_access
from gateway.people.person import Account
from gateway.recorded import bodies_of
from gateway.settings import Settings

TENANT: Final = "demo"
TEMPERATURES: Final = (0.0, 0.8)
SEED: Final = 20261124
FIRST_TASK: Final = 9_000_000
MAX_TOKENS: Final = 256


@dataclass(frozen=True, slots=True)
class Proof:
    """What the offline verifier said."""

    made: Made
    root: str
    tree_size: int
    status: int
    output: str

    def document(self) -> dict[str, Any]:
        """The `audit` object of the demo's JSON."""
        return {"tenant": TENANT, "tree_size": self.tree_size, "root": self.root, "verified": self.status == 0}


def run(settings: Settings, questions: int, json_file: Path | None) -> int:
    """The whole demo; returns the exit status."""
    console = Console()
    tasks = [task(FIRST_TASK + index, Split.HELD_OUT) for index in range(questions)]
    console.print(f"starting the database in {settings.home} ...")
    with open_database(settings, console.print, remind=True) as urls:
        try:
            with guest(settings, urls, TENANT, "demo") as key:
                people = People(settings, urls, TENANT)
                people.enact()
                with gateway_process(settings.home / "log" / "demo-gateway.log", _environ()) as gateway:
                    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=300)
                    rows = _ask_all(console, client, tasks)
                    with people.approver(gateway.url) as approver:
                        held = _hold(console, client, approver, tasks[0])
        except (GatewayDown, NotHeld, ApiRefused, httpx.HTTPError, openai.OpenAIError) as error:
            console.print(f"[red]the demo stopped:[/] {error}")
            return 1
        _show_drafts(console, settings, urls, rows)
        proof = _prove(settings, urls)
    console.print(table(rows))
    console.print(proof.output, highlight=False, markup=False)
    if json_file is not None:
        json_file.write_text(json.dumps(document(rows, held.document(), proof.document()), indent=2) + "\n", encoding="utf-8")
    return _verdict(console, rows, held, proof)


def _environ() -> dict[str, str]:
    """The demo's gateway is reached at a port of this machine, whatever address is told to others."""
    return {name: value for name, value in os.environ.items() if name != "PALIMPSEST_BASE_URL"}


def _verdict(console: Console, rows: list[Row], held: HeldOnce, proof: Proof) -> int:
    same, verified = lossless(rows), proof.status == 0
    console.print(f"lossless: {same} (ar, linear_spec and quadratic_spec gave identical text, sampled answers included)")
    console.print(f"held and {held.state}: {held.approval}, approved by {held.by} over SHA-256 {held.content_sha256}")
    console.print(f"audit verified offline: {verified} ({proof.tree_size} records, root {proof.root})")
    return 0 if same and verified else 1


def _ask_all(console: Console, client: openai.OpenAI, tasks: list[Task]) -> list[Row]:
    model = client.models.list().data[0].id
    _show_one(console, client, model, tasks[0])
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows: list[Row] = []
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("asking", total=len(MODES) * len(TEMPERATURES) * len(tasks))
        for temperature in TEMPERATURES:
            for mode in MODES:
                progress.update(bar, description=f"{mode} at {temperature:g}")
                for index, question in enumerate(tasks):
                    rows.append(_ask(client, f"{model}:{mode}", index, question, temperature))
                    progress.advance(bar)
    return rows


def _show_one(console: Console, client: openai.OpenAI, model: str, question: Task) -> None:
    """One answer as it streams: each piece was committed to the log before it was printed."""
    console.print(f"\n[bold]{question.prompt}[/]", highlight=False)
    stream = client.chat.completions.create(
        model=f"{model}:linear_spec",
        messages=[{"role": "user", "content": question.prompt}],
        temperature=0,
        seed=SEED,
        max_tokens=MAX_TOKENS,
        stream=True,
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            console.print(chunk.choices[0].delta.content, end="", markup=False, highlight=False)
    console.print("\n")


def _hold(console: Console, client: openai.OpenAI, approver: Approver, question: Task) -> HeldOnce:
    """One answer that a person lets go, over the API."""
    model = client.models.list().data[0].id
    held = hold_one(client, model, question.prompt, approver, temperature=0, seed=SEED, max_tokens=MAX_TOKENS)
    console.print(f"\nasked again at high risk, the answer was held until {held.by} approved it; then it came:")
    console.print(held.text, markup=False, highlight=False)
    return held


def _ask(client: openai.OpenAI, model: str, index: int, question: Task, temperature: float) -> Row:
    started = time.perf_counter()
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question.prompt}],
        temperature=temperature,
        seed=SEED,
        max_tokens=MAX_TOKENS,
    )
    seconds = time.perf_counter() - started
    text, usage = answer.choices[0].message.content or "", answer.usage
    account: dict[str, Any] = (answer.model_extra or {})["palimpsest"]
    tokens = 0 if usage is None else usage.completion_tokens
    return Row(
        mode=account["mode"],
        prompt_index=index,
        temperature=temperature,
        seed=account["seed"],
        generation_id=account["generation_id"],
        text=text,
        prompt_tokens=0 if usage is None else usage.prompt_tokens,
        completion_tokens=tokens,
        forwards=account["forwards"],
        tokens_per_forward=account["tokens_per_forward"],
        tokens_per_second=tokens / seconds,
        records=account["records"],
        exact=text.strip() == question.answer.strip(),
    )


def _show_drafts(console: Console, settings: Settings, urls: Urls, rows: list[Row]) -> None:
    """How the answers that took the most passes came about, from the log alone."""
    keys, tokenizer = KeyStore(settings.keys), Tokenizer.load(settings.checkpoint)
    for mode in ("linear_spec", "diffusion"):
        slowest = min((row for row in rows if row.mode == mode), key=lambda row: row.tokens_per_forward)
        console.print(f"\nanswer {slowest.prompt_index} in {mode} at {slowest.temperature:g}, from its records alone:")
        record_access(settings, urls, TENANT, UUID(slowest.generation_id), "demo", Account.mine())
        with read_tenant(urls.reader, TENANT) as reader:
            for line in story(bodies_of(reader, keys, UUID(slowest.generation_id)), tokenizer):
                console.print(line, highlight=False)
    console.print()


def _prove(settings: Settings, urls: Urls) -> Proof:
    """Export the log and let the offline verifier, knowing nothing but its arguments, judge it."""
    size = require_log(urls.reader, TENANT)
    put_on_record(settings, urls, TENANT, Export(Format.JSONL.value, size, "all", 0, "demo", Account.mine().on_record))
    with tempfile.TemporaryDirectory(prefix="palimpsest-demo-") as folder:
        made = export_log(settings, urls.reader, TENANT, Path(folder) / "bundle", Disclose.ALL)
        command = [sys.executable, "-m", "audit", "verify", str(made.folder), "--vkey", made.vkey, "--origin", made.origin]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    size, root = _last_checkpoint(urls)
    return Proof(made, root, size, done.returncode, (done.stdout + done.stderr).strip())


def _last_checkpoint(urls: Urls) -> tuple[int, str]:
    """Size and root (hex) of the newest signed tree."""
    with read_tenant(urls.reader, TENANT) as reader:
        *_, newest = reader.checkpoints()
    _, size, root = newest.splitlines()[:3]
    return int(size), base64.b64decode(root).hex()
