"""The JSON Schema of a policy document, for editors; `schema.json` beside this file is what `published` returns.

A child document repeats only what it changes, so the schema asks for little: what else a document needs, `check` knows.

    python -m policies.schema > policies/schema.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from policies.document import SCHEMA, Document

SCHEMA_FILE: Final = Path(__file__).parent / "schema.json"

_LEAST: Final = {"Document": ["schema", "tenant"]}


def published() -> str:
    """The schema as text: draft 2020-12, indented, with a line break at its end. The same types give the same text."""
    schema = msgspec.json.schema(Document)
    for name, table in schema["$defs"].items():
        if table.get("type") == "object":
            table["required"] = _LEAST.get(name, ["id"] if "id" in table["properties"] else [])
            table["description"] = " ".join(str(table.get("description", "")).split())
    head: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':').replace('.', ':')}",
        "title": "Palimpsest policy",
    }
    return json.dumps(head | schema, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(published())
