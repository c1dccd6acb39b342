"""The trained weights under a chat template that knows tools, and a tool for them to call."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.chat_template import ChatTemplate
from engine.model.checkpoint import LoadedModel
from engine.train.vocabulary import CHAT_TEMPLATE
from tests.engine.small import TINY
from tests.gateway.housed import tiny

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a day.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "enum": [1, 2]}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
LOOK: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@lru_cache(maxsize=1)
def tooled() -> LoadedModel:
    """The trained checkpoint with the template that its trainer writes."""
    return replace(tiny(), template=ChatTemplate(CHAT_TEMPLATE.read_text(encoding="utf-8"), tiny().tokenizer))


def tooled_checkpoint(folder: Path) -> Path:
    """The same as a folder."""
    shutil.copytree(TINY, folder)
    (folder / "chat_template.jinja").write_bytes(CHAT_TEMPLATE.read_bytes())
    return folder
