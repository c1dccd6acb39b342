"""What a benchmark says when it cannot run."""


class BenchError(Exception):
    """The benchmark cannot be run as it was asked for; the message says what to change."""
