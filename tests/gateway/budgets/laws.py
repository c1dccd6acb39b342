"""Policies with budgets, and what their requests have consumed by their own records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import policies
from audit.records import Body, RequestClose

HEAD = 'schema = "palimpsest.policy/1"\ntenant = "*"\ninherit = "baseline"\n'
PRICES = "".join(
    f'[prices.{mode}]\nprompt_tokens = "100"\nanswer_tokens = "{answer}"\nforwards = "7"\ngpu_seconds = "0.5"\n'
    for mode, answer in (("ar", 400), ("diffusion", 300), ("linear_spec", 200), ("quadratic_spec", 200))
)


def budget(name: str, unit: str, amount: str, per: str = "tenant", **more: str) -> str:
    """One [[budgets]] table."""
    window = {} if unit == "concurrency" else {"window": "day"}
    fields = {"id": name, "per": per, "unit": unit, "amount": amount} | window | more
    return "[[budgets]]\n" + "".join(f'{key} = "{value}"\n' for key, value in fields.items())


def written(folder: Path, *tables: str, head: str = HEAD) -> Path:
    """A document of these tables."""
    file = folder / "law.toml"
    file.write_text("\n".join((head, *tables)), encoding="utf-8")
    return file


def law(folder: Path, *tables: str, head: str = HEAD) -> policies.Policy:
    """The policy that such a document is."""
    return policies.load(written(folder, *tables, head=head))


def tokens_of(bodies: Iterable[Body]) -> int:
    """Tokens of prompt and answer, by the request's end."""
    (close,) = (body for body in bodies if isinstance(body, RequestClose))
    return close.prompt_tokens + close.tokens
