"""Who acts when nobody says so: the account of the operating system."""

from __future__ import annotations

import os
import pwd


def account() -> str:
    """The account of the operating system that runs this, whatever the environment says; by its number if it has no name."""
    try:
        return f"account {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"account {os.geteuid()}"
