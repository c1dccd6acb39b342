"""schemathesis over the document in which the gateway describes itself: `make api-fuzz`, or

    python -m tests.clients.api [--minutes 10] [--seed S]

A stranger reads the OpenAPI document and asks what it permits and what it forbids, as long as it is told. Where the document
permits any text but few are served (models, roles, types, modes) it gets those, or nothing would pass the first refusal.
Nothing may be answered with a 5xx, with a status or a shape that the document does not have, or without a key; then the log
must verify.

schemathesis comes from PyPI, into an environment of its own. Exit status 0 if nothing was found.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console

from tests.clients.checkpoints import listener
from tests.clients.install import Program, from_pypi
from tests.faults.crash import fresh_database
from tests.gateway.served import Served, serve

DOCUMENT: Final = "/api/openapi.json"
WORDS: Final = {
    "role": ["user", "assistant", "system", "developer", "tool"],
    "type": [
        *("text", "message", "function", "custom", "json_object", "json_schema", "input_text", "output_text"),
        *("tool_use", "tool_result", "thinking", "function_call", "function_call_output", "reasoning"),
        *("auto", "any", "tool", "none", "enabled", "disabled"),
    ],
    "mode": [None, "ar", "linear_spec", "quadratic_spec", "diffusion", "auto"],
    "numeric": [None, "strict"],
}
LENGTHS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


def sharpened(document: dict[str, Any], model: str) -> dict[str, Any]:
    """The document with the words that are served in place of any text, and answers short enough for thousands of them."""
    words = {"model": [model, f"{model}:ar", f"{model}:diffusion"], **WORDS}
    for name, schema in document["components"]["schemas"].items():
        if name.startswith("asked."):
            properties = schema.get("properties", {})
            properties |= {field: {"enum": words[field]} for field in words if field in properties}
            properties |= {field: {"type": "integer", "maximum": 12} for field in LENGTHS if field in properties}
    return document


def fuzzed(program: Program, served: Served, seconds: int, seed: int, home: Path) -> bool:
    """Whether nothing was found; what was found is printed."""
    # Told as the document's own scheme and not as a header, so that the key is left out where another way in is tried.
    (home / "schemathesis.toml").write_text(f'[auth.openapi.bearer]\nbearer = "{served.key}"\n', encoding="utf-8")
    document = httpx.get(served.url + DOCUMENT, timeout=60, trust_env=False).json()
    (home / "openapi.json").write_text(json.dumps(sharpened(document, served.model)), encoding="utf-8")
    command = [
        str(program.path), "run", "openapi.json", "--url", served.url, "--checks", ",".join(CHECKS), "--max-time", str(seconds),
        "--seed", str(seed), "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all",
        "--request-timeout", "60", "--warnings", "off",
    ]  # fmt: skip
    return subprocess.run(command, env=program.environ(home), cwd=home, stdin=subprocess.DEVNULL, check=False).returncode == 0


def main() -> int:
    """The command; returns the exit status."""
    from tests.clients.__main__ import CACHE, verified  # noqa: PLC0415 - seconds of imports, for whoever asks for it alone

    parser = argparse.ArgumentParser(prog="python -m tests.clients.api", description="schemathesis over the OpenAPI document")
    parser.add_argument("--minutes", type=float, default=10, help="how long")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31))
    parser.add_argument("--cache", type=Path, default=CACHE, help="where schemathesis is installed")
    given, console = parser.parse_args(), Console()
    program = from_pypi(given.cache.resolve(), "schemathesis", "schemathesis")
    console.print(f"schemathesis {program.version}, seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="palimpsest-api-") as name, fresh_database(Path(name) / "pg", console) as database:
        folder = Path(name).resolve()
        with serve(database, folder / "home", listener(folder / "listener")) as served:
            passed = fuzzed(program, served, max(int(given.minutes * 60), 1), given.seed, folder)
        wrong, size = verified(served, folder / "export"), served.log.size()
    console.print(f"audit verified offline: {not wrong} ({size} records)\n{wrong}", markup=False)
    return 0 if passed and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
