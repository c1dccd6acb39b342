"""A command that cannot go on: one line on standard error, as every other mistake has it, and exit status 1."""

from __future__ import annotations


class CommandFailed(Exception):
    """What was asked cannot be done; the message says why, and what would help."""
