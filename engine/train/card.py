"""The card that ships beside the weights: what the checkpoint is, how it was made, and what it scored.

Every figure comes from the documents of its examinations, which lie beside it as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.model.checkpoint import LoadedModel
from engine.train.picture import whole
from engine.train.recipe import Recipe, Stage
from engine.train.scores import BLOCK_LENGTH, QUADRATIC_BLOCK, THRESHOLD

Document = Mapping[str, Any]
Row = Mapping[str, Any]

PICTURE: Final = "tradeoff.svg"
EXAM: Final = "exam.json"
LONG_EXAM: Final = "exam_long.json"
TOOL_EXAM: Final = "exam_tools.json"
EXAMS: Final = (EXAM, LONG_EXAM, TOOL_EXAM)
_ABILITY: Final = {
    "functions": "It writes small Python functions over lists of integers or strings from English requests, and nothing else.",
    "whole": "It writes small Python functions from English requests, calls tools and goes on from their results, makes short "
    "edits to\ngiven code and answers in JSON, all in the narrow English of its own grammar, and nothing else.",
}

_STAGES: Final = {
    Stage.CAUSAL: "{} autoregressive steps",
    Stage.JOINT: "{} joint steps (half of the blocks in draft form: first token known, the\n  rest masked; 15 % wholly masked; "
    "the rest with a mask ratio drawn per block)",
    Stage.SETTLE: "{} joint steps amid\n  denoising (65 % of the blocks with the first token known and a mask ratio for the "
    "rest, 5 % wholly masked)\n  with a loss that claims less for guesses at a distance",
    Stage.DRAFTER: "{} steps of the drafter LoRA\n  alone, half of whose blocks do not see their first token",
}


@dataclass(frozen=True, slots=True)
class Making:
    """How the checkpoint came about: by what, from which exercises, in how many seconds of training steps, on what."""

    recipe: Recipe
    mixture: str
    seconds: float
    worker: str


def write_card(folder: Path, model: LoadedModel, made: Making, sittings: Mapping[str, Document]) -> None:
    """Write `folder/README.md`; `sittings` are the examinations of this model by the file that holds them."""
    exam, recipe = sittings[EXAM], made.recipe
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    (folder / "README.md").write_text(_CARD.format(
        parameters=parameters / 1e6,
        digest=model.weights_digest,
        ability=_ABILITY[made.mixture],
        command=f"palimpsest train --mixture {made.mixture} {recipe.options()} --out DIR",
        time=f"{made.seconds / 60:.0f} minutes of training steps on {made.worker}",
        seed=recipe.seed,
        stages=", then ".join(_STAGES[stage].format(recipe.steps(stage)) for stage in Stage if recipe.steps(stage)),
        positions=model.config.max_position_embeddings,
        block=BLOCK_LENGTH,
        quadratic=QUADRATIC_BLOCK,
        threshold=THRESHOLD,
        modes=_modes(exam["rows"]),
        kinds=_kinds(exam["rows"]),
        guided=_guided(exam["rows"]),
        lora=_lora(exam["rows"]),
        trade=_trade(exam["rows"]),
        tools=_tools(sittings.get(TOOL_EXAM)),
        long=_long(sittings.get(LONG_EXAM)),
        dtype=exam["dtype"],
        numeric=exam["numeric"],
        concurrency=exam["concurrency"],
        picture=PICTURE,
    ), encoding="utf-8")  # fmt: skip


def _percent(row: Row, what: str = "correct") -> str:
    value = row[what]
    return "-" if value is None else f"{100 * value / max(1, row['questions']):.1f} %"


def _usual(row: Row) -> bool:
    """Whether the row's setting is the one that the tables of modes are about."""
    block = {"ar": None, "quadratic_spec": QUADRATIC_BLOCK}.get(row["mode"], BLOCK_LENGTH)
    return row["block"] == block and row["threshold"] in (None, THRESHOLD)


def _plain(row: Row) -> bool:
    return _usual(row) and whole(row)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _modes(rows: Sequence[Row]) -> str:
    head = ("mode", "questions", "executed correct", "usable form", "same text as `ar`", "tokens per forward", "tokens/s")
    told = [
        (
            f"`{row['mode']}`",
            str(row["questions"]),
            *(_percent(row, what) for what in ("correct", "usable", "same_as_ar")),
            f"{row['tokens_per_forward']:.2f}",
            f"{row['tokens_per_second']:.0f}",
        )
        for row in rows
        if row["kind"] == "all" and _plain(row)
    ]
    return _table(head, told)


def _long(exam: Document | None) -> str:
    if exam is None:
        return ""
    told = f"Amid about {exam['context']:,} tokens of tool lists, system prompts and earlier turns"
    return f"{told}:\n\n{_modes(exam['rows'])}\n\n"


def _tools(exam: Document | None) -> str:
    if exam is None:
        return ""
    head = ("mode", "questions", "correct", "usable: parses, right tool, arguments validate")
    told = [
        (f"`{row['mode']}`{', grammar' * row['guided']}", str(row["questions"]), _percent(row), _percent(row, "usable"))
        for row in exam["rows"]
    ]
    return f"Calls of tools whose schemas are held out, in an exam of their own:\n\n{_table(head, told)}\n\n"


def _kinds(rows: Sequence[Row]) -> str:
    return _pivot(rows, _plain, lambda row: row["kind"], lambda row: f"`{row['mode']}`", _percent)


def _guided(rows: Sequence[Row]) -> str:
    """Calls and JSON as they come, and held to their form."""

    def told(row: Row) -> str:
        return f"{_percent(row)} ({_percent(row, 'usable')})"

    def formed(row: Row) -> bool:
        return _usual(row) and (row["guided"] or whole(row)) and row["kind"] in ("tool", "turns", "json")

    return _pivot(rows, formed, lambda row: f"`{row['mode']}`{', grammar' * row['guided']}", lambda row: row["kind"], told)


def _lora(rows: Sequence[Row]) -> str:
    def drafted(row: Row) -> bool:
        return _usual(row) and not row["guided"] and row["kind"] == "all" and row["mode"].endswith("spec")

    def told(row: Row) -> str:
        return f"{row['tokens_per_forward']:.2f}"

    def asked(row: Row) -> str:
        return f"`{row['mode']}`, temperature {row['temperature']:g}"

    return _pivot(rows, drafted, asked, lambda row: f"LoRA {row['lora']}", told)


def _trade(rows: Sequence[Row]) -> str:
    def diffusion(row: Row) -> bool:
        return row["kind"] == "all" and row["threshold"] is not None and whole(row)

    def told(row: Row) -> str:
        return f"{_percent(row)}, {row['tokens_per_forward']:.2f}"

    return _pivot(rows, diffusion, lambda row: f"{row['threshold']:g}", lambda row: f"block {row['block']}", told)


def _pivot(
    rows: Sequence[Row],
    wanted: Callable[[Row], bool],
    down: Callable[[Row], str],
    across: Callable[[Row], str],
    told: Callable[[Row], str],
) -> str:
    """A table of the wanted rows: one line per `down`, one column per `across`, in the order in which they come."""
    found = [row for row in rows if wanted(row)]
    columns = list(dict.fromkeys(map(across, found)))
    cells = {(down(row), across(row)): told(row) for row in found}
    lines = [(line, *(cells.get((line, column), "-") for column in columns)) for line in dict.fromkeys(map(down, found))]
    return _table(("", *columns), lines)


_CARD: Final = """# palimpsest-tiny

A {parameters:.1f} M-parameter checkpoint of the Nemotron-Labs-Diffusion architecture, in the family's exact file layout,
trained from scratch by this project so that every claim can be tried on a laptop. {ability}
Every figure below is of that narrow task. Licence: Apache-2.0, like the code.

* **Data**: made by `engine/train/`; compositions of filter, map and reduction, names, tools and schemas whose hash falls into
  the held-out share were never generated for training. No outside data.
* **Command**: `{command}`
* **Seed**: {seed}. Weights digest (SHA-256): `{digest}`
* **Stages**: {stages}.
* **Time**: {time}.
* **Context**: {positions:,} positions.

Held-out exam, greedy, {dtype}, {numeric} numerics, block {block} ({quadratic} for `quadratic_spec`), threshold {threshold}
for `diffusion`:

{modes}

Executed correct by kind of question:

{kinds}

Calls and JSON without and with the engine's grammar, correct (usable: parses, right tool, arguments validate):

{guided}

{tools}Tokens per forward with the drafter LoRA on and off, greedily and drawn (what is said is the same either way):

{lora}

`diffusion` over threshold and block length, correct and tokens per forward:

{trade}

![accuracy against tokens per forward]({picture})

{long}Tokens per forward = sum of tokens / sum of forwards; a forward is every network pass after prefill, drafts, denoising,
verification and commits alike. Tokens/s is of one machine and one run with {concurrency} answers under way at
once, which changes no token in strict numerics, and stands here for scale only.
"""
