"""`python -m gateway` is the `palimpsest` command."""

from gateway.cli import main

main()
