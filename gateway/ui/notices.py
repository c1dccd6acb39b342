"""What a page says after something was done. The address names the sentence and never holds one: nobody can put words here."""

from __future__ import annotations

from typing import Final

_SENTENCES: Final = {
    "signed-out": "You are signed out.",
    "saved": "Done, and on record.",
    "nothing": "There was nothing to change.",
    "approved": "Your approval is signed and on record.",
    "rejected": "Your rejection is signed and on record. The client is told your words.",
    "edited": "Your text stands in the place of the answer. Somebody else has to approve it.",
    "desk": "The desk is set.",
    "taken": "Somebody else is reading it at the moment.",
}


def text(name: str) -> str:
    """The sentence of that name, empty for a name that none has."""
    return _SENTENCES.get(name, "")
