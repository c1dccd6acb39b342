"""Command line clients of chat completions, headless, with the settings of gateway/CLIENTS.md and a tool of their own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.commands import ended
from tests.clients.held import FILE, TASK, call_or_words
from tests.clients.install import Program, from_npm
from tests.clients.loops import Loop, Place


def opencode(cache: Path) -> list[Loop]:
    """opencode, which also asks for a title."""
    program = from_npm(cache, "opencode-ai", "opencode")
    return [Loop("opencode", program.version, lambda place: _opencode(program, place))]


def qwen(cache: Path) -> list[Loop]:
    """qwen-code, which may ask a second time, for what it should remember."""
    program = from_npm(cache, "@qwen-code/qwen-code", "qwen")
    return [Loop("qwen-code", program.version, lambda place: _qwen(program, place))]


def continued(cache: Path) -> list[Loop]:
    """Continue's command line."""
    program = from_npm(cache, "@continuedev/cli", "cn")
    return [Loop("continue", program.version, lambda place: _continued(program, place))]


def _headers(place: Place, tool: str, path: str, workflow: str) -> dict[str, str]:
    """What holds an answer to one call of the client's tool for files, whose argument for the file is called `path`."""
    grammar = call_or_words(tool, {path: str(place.folder / FILE), "content": "{}"})
    return {"x-palimpsest": json.dumps({"grammar": grammar, "workflow": workflow})}


def _opencode(program: Program, place: Place) -> str:
    options = {
        "baseURL": f"{place.url}/v1",
        "apiKey": "{env:PALIMPSEST_KEY}",
        "headers": _headers(place, "write", "filePath", "opencode"),
        "timeout": 600_000,
    }
    models = {place.model: {"name": place.model}}
    name = f"palimpsest/{place.model}"
    provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": models}
    config = {"provider": {"palimpsest": provider}, "model": name, "small_model": name, "autoupdate": False}
    (place.folder / "opencode.json").write_text(json.dumps(config), encoding="utf-8")
    command = ["run", "--model", name, TASK]
    return ended(program, command, place, PALIMPSEST_KEY=place.key, OPENCODE_DISABLE_MODELS_FETCH="1")


def _qwen(program: Program, place: Place) -> str:
    sent = {"customHeaders": _headers(place, "write_file", "file_path", "qwen")}
    settings = place.home / ".qwen" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"model": {"generationConfig": sent}}), encoding="utf-8")
    command = ["--auth-type", "openai", "-p", TASK, "--approval-mode", "yolo", "--output-format", "json"]
    at = {"OPENAI_BASE_URL": f"{place.url}/v1", "OPENAI_API_KEY": place.key, "OPENAI_MODEL": place.model}
    return ended(program, command, place, **at)


def _continued(program: Program, place: Place) -> str:
    model = {
        "name": "palimpsest",
        "provider": "openai",
        "model": place.model,
        "apiBase": f"{place.url}/v1",
        "apiKey": place.key,
        "roles": ["chat", "edit"],
        "requestOptions": {"headers": _headers(place, "Write", "filepath", "continue")},
    }
    config = {"name": "palimpsest", "version": "1.0.0", "schema": "v1", "models": [model]}
    file = place.home / "config.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # every JSON document is a YAML one
    return ended(program, ["--config", str(file), "-p", TASK, "--auto", "--format", "json"], place)
