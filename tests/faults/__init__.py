"""Faults on purpose: processes killed under load, full disks, lost answers, turned clocks, and inputs made to break parsers."""
