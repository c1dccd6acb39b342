"""What a derived format is: a listener to the one pass over the log, and what it may be told besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from audit.export.approvals import Approval
from audit.export.dsse import Attester
from audit.export.generations import Generation
from audit.export.opened import Opened
from audit.note import Checkpoint


class Format(StrEnum):
    """A form in which a bundle may say again what its evidence, always JSON lines, says."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    CSV = "csv"
    PROV = "prov"
    IN_TOTO = "in-toto"
    OCSF = "ocsf"
    CEF = "cef"
    HTML = "html"


Spell: TypeAlias = Callable[[Sequence[int]], str]
"""The text of token ids, by the tokenizer of the model that wrote them."""
Speller: TypeAlias = Callable[[bytes], Spell | None]
"""From the weights digest of a generation (32 bytes) to how its ids are spelled; None for a model that is not here."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What is wanted beside the evidence. in-toto needs an `attester`; without a `speller` reports show token ids.

    `policies` maps the digest that decisions name to the resolved document, whose SHA-256 it is; nothing is compared here.
    """

    formats: frozenset[Format] = frozenset()
    policies: Mapping[bytes, bytes] = field(default_factory=dict)
    attester: Attester | None = None
    speller: Speller | None = None


class Derivation:
    """One derived format. The pass calls these in the order of the log; each may be ignored."""

    def record(self, opened: Opened) -> None:
        """The next record."""

    def generation(self, told: Generation, cover: Checkpoint | None) -> None:
        """A disclosed generation that has ended, or did not by the end of the log, and the first checkpoint over all of it."""

    def approval(self, told: Approval) -> None:
        """The disclosed approval of a held answer, at the end of the log."""

    def checkpoint(self, holds: bool) -> None:
        """The pass has reached the size of the next checkpoint: whether the records so far have its root."""

    def close(self) -> None:
        """The pass is over, well or not: finish the files."""
