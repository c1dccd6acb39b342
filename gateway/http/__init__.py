"""The HTTP routes; each file is one door."""
