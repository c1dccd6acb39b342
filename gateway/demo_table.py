"""What the demo measured, as rows, as JSON and as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table

LOSSLESS_MODES: Final = ("ar", "linear_spec", "quadratic_spec")
MODES: Final = ("ar", "diffusion", "linear_spec", "quadratic_spec")
FORWARDS: Final = (
    "A forward is any network pass after prefill in which the generation has rows: draft, denoise, verify and commit alike. "
    "Tokens per forward of a set = sum of its tokens / sum of its forwards."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One answer; `exact` says that it is the grammar's own answer, character for character."""

    mode: str
    prompt_index: int
    temperature: float
    seed: int
    generation_id: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    forwards: int
    tokens_per_forward: float
    tokens_per_second: float
    records: int
    exact: bool


def lossless(rows: Sequence[Row]) -> bool:
    """Whether the three modes that promise it gave the same text for every prompt at every temperature."""
    texts: dict[tuple[int, float], dict[str, str]] = {}
    for row in rows:
        if row.mode in LOSSLESS_MODES:
            texts.setdefault((row.prompt_index, row.temperature), {})[row.mode] = row.text
    return (
        bool(texts)
        and all(len(by_mode) == len(LOSSLESS_MODES) for by_mode in texts.values())
        and all(len(set(by_mode.values())) == 1 for by_mode in texts.values())
    )


def tokens_per_forward(rows: Sequence[Row]) -> float:
    """Sum of tokens over sum of forwards."""
    forwards = sum(row.forwards for row in rows)
    return sum(row.completion_tokens for row in rows) / forwards if forwards else 0.0


def document(rows: Sequence[Row], held: dict[str, Any], audit: dict[str, Any]) -> dict[str, Any]:
    """The JSON of `--json`."""
    return {"generations": [asdict(row) for row in rows], "lossless": lossless(rows), "held": held, "audit": audit}


def table(rows: Sequence[Row]) -> Table:
    """One line per mode and temperature."""
    made = Table(title="palimpsest demo", caption=FORWARDS, caption_justify="left")
    for name in ("mode", "T", "exact", "tokens", "forwards", "tok/fwd", "tok/s", "as ar"):
        made.add_column(name, justify="left" if name == "mode" else "right")
    for temperature in sorted({row.temperature for row in rows}):
        for mode in MODES:
            own = [row for row in rows if row.mode == mode and row.temperature == temperature]
            if own:
                made.add_row(*_cells(mode, temperature, own, rows))
    return made


def _cells(mode: str, temperature: float, own: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    ar = {row.prompt_index: row.text for row in rows if row.mode == "ar" and row.temperature == temperature}
    same = sum(row.text == ar.get(row.prompt_index) for row in own)
    seconds = sum(row.completion_tokens / row.tokens_per_second for row in own if row.tokens_per_second)
    tokens = sum(row.completion_tokens for row in own)
    return [
        mode,
        f"{temperature:g}",
        f"{sum(row.exact for row in own)}/{len(own)}",
        str(tokens),
        str(sum(row.forwards for row in own)),
        f"{tokens_per_forward(own):.2f}",
        f"{tokens / seconds:.0f}" if seconds else "-",
        f"{same}/{len(own)}",
    ]
