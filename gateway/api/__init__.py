"""The JSON that people and programs read under /api."""
