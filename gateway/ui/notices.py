"""What a page says after something was done. The address names the sentence and never holds one: nobody can put words here."""

from __future__ import annotations

from typing import Final

_SENTENCES: Final = {
    "signed-out": "You are signed out.",
    "saved": "Done, and on record.",
    "nothing": "There was nothing to change.",
}


def text(name: str) -> str:
    """The sentence of that name, empty for a name that none has."""
    return _SENTENCES.get(name, "")
