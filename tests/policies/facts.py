"""Facts and documents that several tests of this room start from."""

from pathlib import Path

from policies import RequestFacts

PLAIN = RequestFacts(
    tenant="acme",
    caller="key-1",
    model="palimpsest-tiny",
    requested_mode=None,
    workflow=None,
    risk=None,
    max_tokens=None,
    block_length=None,
    threshold=None,
    max_steps=None,
    seed_first=None,
    prompt_tokens=10,
)

HEAD = 'schema = "palimpsest.policy/1"\ntenant = "acme"\n'
STRICT = HEAD + '[modes]\nallowed = ["ar", "linear_spec"]\ndefault = "linear_spec"\n'


def write(folder: Path, name: str, text: str) -> Path:
    """Put one document into `folder` and return its path."""
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path
