"""Anthropic's messages: the dialect of Claude Code and of the `anthropic` clients."""
