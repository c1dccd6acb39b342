"""What a page says after something was done. The address names the sentence and never holds one: nobody can put words here."""

from __future__ import annotations

from typing import Final

_SENTENCES: Final = {
    "signed-out": "You are signed out.",
    "password-set": "The password is set. Sign in with it.",
    "passkey-added": "You can sign decisions with this passkey. It is on record.",
    "passkey-removed": "Nothing is signed with it any more. What it has signed stays signed.",
    "lent": "Lent, and on record.",
    "ended": "Ended, and on record.",
    "saved": "Done, and on record.",
    "nothing": "There was nothing to change.",
    "in-force": "On record, and in force within a second in every gateway.",
    "erased": "Erased, and on record. Nobody can read it any more.",
    "hold-placed": "The hold stands.",
    "hold-released": "The hold is released.",
    "rule-set": "The rule is set; it is carried out at the next retirement.",
    "retired": "What the rule no longer keeps is removed.",
    "nothing-old": "Nothing is old enough yet.",
}
_OF_ANSWERS: Final = {
    "approved": "Your approval is signed and on record.",
    "rejected": "Your rejection is signed and on record. The client is told your words.",
    "edited": "An edited text stands in the place of the answer. Somebody else than its editor has to approve it.",
    "taken-back": "No decision of yours stands.",
    "saved": "Done, and on record.",
    "desk": "The desk is as it stands below.",
    "taken": "Somebody else is reading it at the moment.",
}
"""Of a held answer: `gateway.ui.reviewing.done` says of which they hold."""


def text(name: str) -> str:
    """The sentence of that name, empty for a name that none has."""
    return _SENTENCES.get(name, "")


def of_answer(name: str) -> str:
    """The same, of what a page of a held answer says."""
    return _OF_ANSWERS.get(name, "")
