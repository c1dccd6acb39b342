"""OpenAI's responses: the dialect of Codex CLI and of newer OpenAI clients."""
