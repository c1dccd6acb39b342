"""The audit UI: pages that a person reads."""
