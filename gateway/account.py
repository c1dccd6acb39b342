"""Who acts when nobody says so: the account of the operating system."""

from __future__ import annotations

import getpass


def account() -> str:
    """The account of the operating system that runs this."""
    return f"account {getpass.getuser()}"
