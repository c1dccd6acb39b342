"""`python -m gateway` is the `palimpsest` command; Ctrl-C ends it with status 130, also while the command is being loaded."""

# ruff: noqa: PLC0415 - what is loaded waits until an interrupt of it is quiet

import os
import signal
import sys


def main() -> None:
    """Load the command and run it."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # a shell may have started us deaf to it
        signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))  # nothing is open yet
    try:
        from gateway.cli import main as command
    except ModuleNotFoundError as error:
        sys.exit(f"palimpsest: {error}: install it with what it needs, or run the Python that has it, such as .venv/bin/python")

    signal.signal(signal.SIGINT, heard)
    command()


if __name__ == "__main__":
    main()
