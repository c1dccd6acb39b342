"""Command line clients, headless, configured as their users would and with nothing but their own switches."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.clients.held import FILE, TASK, call_or_words, whole_file
from tests.clients.install import Program, from_npm, from_pypi
from tests.clients.loops import SECONDS, Loop, Place

BRIEF: Final = "You write files."


def aider(cache: Path) -> list[Loop]:
    """aider, which knows no tools: its answer is the file."""
    program = from_pypi(cache, "aider-chat", "aider")
    return [Loop("aider", program.version, lambda place: _aider(program, place))]


def codex(cache: Path) -> list[Loop]:
    """Codex CLI with the fewest tools and a short prompt, and as it comes."""
    program = from_npm(cache, "@openai/codex", "codex")
    return [
        Loop("codex, fewest tools", program.version, lambda place: _codex(program, place, FEWEST)),
        Loop("codex, as it comes", program.version, lambda place: _codex(program, place, "")),
    ]


def claude(cache: Path) -> list[Loop]:
    """Claude Code with one tool and a short prompt, and as it comes."""
    program = from_npm(cache, "@anthropic-ai/claude-code", "claude")
    fewest = ("--tools", "Write", "--system-prompt", BRIEF)
    return [
        Loop("claude, fewest tools", program.version, lambda place: _claude(program, place, fewest)),
        Loop("claude, as it comes", program.version, lambda place: _claude(program, place, ())),
    ]


def _aider(program: Program, place: Place) -> str:
    name = f"openai/{place.model}"
    body = {"palimpsest": {"grammar": whole_file(FILE), "workflow": "aider"}}
    settings = [{"name": name, "edit_format": "whole", "use_temperature": 0, "extra_params": {"extra_body": body}}]
    file = place.home / "models.yml"
    file.write_text(json.dumps(settings), encoding="utf-8")  # every JSON document is a YAML one
    quiet = "--yes-always --no-git --no-check-update --no-show-model-warnings --analytics-disable --no-auto-lint --map-tokens 0"
    histories = [f"--{kind}-history-file={place.home / kind}" for kind in ("chat", "input")]
    command = ["--model", name, "--model-settings-file", str(file), *quiet.split(), *histories, "--message", TASK, FILE]
    return ended(program, command, place, OPENAI_API_BASE=f"{place.url}/v1", OPENAI_API_KEY=place.key)


FEWEST: Final = """\
model_instructions_file = "{home}/brief.md"
web_search = "disabled"
include_permissions_instructions = false
include_apps_instructions = false
include_environment_context = false
[agents]
enabled = false
[features]
goals = false
view_image = false
[skills]
include_instructions = false
bundled = {{ enabled = false }}
"""
"""What of Codex's configuration takes tools and words out of its requests."""

PROVIDER: Final = """\
model_provider = "gateway"
{more}
[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
http_headers = {{ "x-palimpsest" = {knob} }}
"""


def _codex(program: Program, place: Place, more: str) -> str:
    grammar = call_or_words("exec_command", {"cmd": f"printf '%s' '{{}}' > {FILE}"})
    (place.home / "brief.md").write_text(BRIEF, encoding="utf-8")
    knob = json.dumps(json.dumps({"grammar": grammar, "workflow": "codex"}))  # a JSON string is a TOML one
    config = PROVIDER.format(more=more.format(home=place.home), url=place.url, knob=knob)
    (place.home / "config.toml").write_text(config, encoding="utf-8")
    switches = ("--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    command = ["exec", *switches, "--model", place.model, TASK]
    return ended(program, command, place, CODEX_HOME=str(place.home), GATEWAY_KEY=place.key)


def _claude(program: Program, place: Place, more: Sequence[str]) -> str:
    grammar = call_or_words("Write", {"file_path": str(place.folder / FILE), "content": "{}"})
    knob = json.dumps({"grammar": grammar, "workflow": "claude-code"})
    command = ["-p", TASK, "--model", f"claude-{place.model}", "--output-format", "json", "--allowedTools", "Write", *more]
    return ended(
        program,
        command,
        place,
        ANTHROPIC_BASE_URL=place.url,
        ANTHROPIC_AUTH_TOKEN=place.key,
        ANTHROPIC_CUSTOM_HEADERS=f"x-palimpsest: {knob}",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        CLAUDE_ENABLE_STREAM_WATCHDOG="0",  # versions before 2.1.222 hear no signs of life and leave after 300 s
    )


def ended(program: Program, command: Sequence[str], place: Place, **environ: str) -> str:
    """Run a client to its end; what it said last, if that was no success."""
    try:
        done = subprocess.run(
            [str(program.path), *command], cwd=place.folder, env=program.environ(place.home, **environ),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it had not ended after {SECONDS} s"
    (place.home / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return f"exit status {done.returncode}: {(done.stdout + done.stderr)[-500:]}" if done.returncode else ""
