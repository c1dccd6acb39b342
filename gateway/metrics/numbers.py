"""What one application counts while it works; what it merely reads when somebody asks is in `instruments.py`."""

from __future__ import annotations

from gateway.metrics.meters import Meters
from gateway.metrics.traffic import Traffic
from gateway.metrics.work import Commits, Work


class Numbers:
    """Handed down to whoever counts; another application in the same process has its own."""

    def __init__(self) -> None:
        self.meters = Meters()
        self.traffic, self.work, self.commits = Traffic(self.meters), Work(), Commits(self.meters)
