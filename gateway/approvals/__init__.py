"""Approvals: who may let a held answer leave, and what has been decided."""
