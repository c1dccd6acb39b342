"""An export's archive on disk, with no more of `tarfile` than the oldest Python that we serve has."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpacked(archive: tarfile.TarFile, folder: Path) -> Path:
    """Write its files below `folder`; returns the bundle. Anything but folders and files inside of it fails the test."""
    for member in archive:
        place = (folder / member.name).resolve()
        assert place.is_relative_to(folder.resolve()) and (member.isfile() or member.isdir())
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        assert content is not None
        place.write_bytes(content.read())
    return folder / archive.getnames()[0]
