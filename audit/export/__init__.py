"""The bundle that leaves the house: evidence as JSON lines with proofs, and derived files that say it again in other forms."""

from audit.export.bundling import Exported, Progress, claim, export
from audit.export.concern import Reach, acts_concerning
from audit.export.derivation import Extras, Format, Spell, Speller
from audit.export.disclosure import Disclosure, Undisclosed, disclose_all, disclose_nothing, disclose_requests
from audit.export.dsse import Attester

__all__ = [
    "Attester",
    "Disclosure",
    "Exported",
    "Extras",
    "Format",
    "Progress",
    "Reach",
    "Spell",
    "Speller",
    "Undisclosed",
    "acts_concerning",
    "claim",
    "disclose_all",
    "disclose_nothing",
    "disclose_requests",
    "export",
]
