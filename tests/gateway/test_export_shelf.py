"""What a killed process leaves of an export, and what it must not leave."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import msgspec

from audit.standing import Standing
from gateway.export_shelf import KEPT_SECONDS, ExportShelf, Parcel, _working
from gateway.settings import DatabaseUrl, Settings
from tests.audit.writer_samples import TENANT

NEVER = 2**40


def shelf_in(home: Path) -> ExportShelf:
    """A shelf that nothing is exported to."""
    return ExportShelf(
        home / "exports", Settings.read({"PALIMPSEST_HOME": str(home)}), DatabaseUrl("postgresql://nowhere/none")
    )


def parcel(disclosed: str) -> Parcel:
    """The note of an export that is never too old."""
    return Parcel(uuid4(), TENANT, "grace", "why", disclosed, 0, (), 5, 5, NEVER, 3, "origin", ())


def test_what_a_killed_maker_left_goes_at_the_next_look(tmp_path: Path) -> None:
    """Folders and archives of exports that nobody makes any more are removed, by a look and by an erasure; whole ones stay."""
    shelf, whole = shelf_in(tmp_path), parcel("nothing")
    place = tmp_path / "exports" / f"of-{TENANT}"
    for act in (lambda: shelf.parcels(TENANT, Standing()), lambda: shelf.drop_disclosed(TENANT)):
        part = place / f"{uuid4()}.part" / "bundle"
        part.mkdir(parents=True)
        (part / "records.jsonl").write_text("a prompt")
        (place / f"{uuid4()}.tar.gz").write_bytes(b"an archive without a note")
        (place / f"{uuid4()}.json").write_bytes(msgspec.json.encode(parcel("all")))
        (place / f"{whole.id}.json").write_bytes(msgspec.json.encode(whole))
        (place / f"{whole.id}.tar.gz").write_bytes(b"abc")
        act()
        left = {path.name for path in place.iterdir() if path.name != ".lock"}
        assert left == {f"{whole.id}.json", f"{whole.id}.tar.gz"}
    assert shelf.parcels(TENANT, Standing()) == [whole]


def test_what_is_in_the_making_is_left_alone(tmp_path: Path) -> None:
    """While its maker lives an export keeps its folder, and is listed once note and archive are both there."""
    shelf, made = shelf_in(tmp_path), parcel("nothing")
    place = tmp_path / "exports" / f"of-{TENANT}"
    assert shelf.parcels(TENANT, Standing()) == []
    with ExitStack() as making:
        part = making.enter_context(_working(place, made.id))
        (part / "archive").write_bytes(b"abc")
        (place / f"{made.id}.json").write_bytes(msgspec.json.encode(made))
        assert shelf.parcels(TENANT, Standing()) == [] and (part / "archive").exists()
        (part / "archive").replace(place / f"{made.id}.tar.gz")
        assert shelf.parcels(TENANT, Standing()) == [made]
    assert not part.exists() and shelf.parcels(TENANT, Standing()) == [made]


def test_an_archive_goes_after_its_week_though_nobody_looks(tmp_path: Path) -> None:
    """A gateway that sweeps its shelf removes what has lain there for a week, of every tenant, and nothing younger."""
    shelf, now = shelf_in(tmp_path), int(time.time())
    for tenant in (TENANT, "other"):
        place = tmp_path / "exports" / f"of-{tenant}"
        place.mkdir(parents=True)
        for age in (KEPT_SECONDS + 60, KEPT_SECONDS - 60):
            note = msgspec.structs.replace(parcel("all"), id=uuid4(), tenant=tenant, made_at=now - age)
            (place / f"{note.id}.json").write_bytes(msgspec.json.encode(note))
            (place / f"{note.id}.tar.gz").write_text(str(age))
    shelf.drop_old()
    assert [path.read_text() for path in (tmp_path / "exports").glob("*/*.tar.gz")] == [str(KEPT_SECONDS - 60)] * 2
