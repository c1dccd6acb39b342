"""Laws of shipping: every checkpoint reaches every place, whatever fails in between."""

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.destinations import AppendFile, open_destination
from audit.ledger import Ledger
from audit.shipping import BACKOFF_MOST, BATCH, Progress, Shipper, ShippingFailed, carry, folder_name
from tests.audit.log_samples import run_of
from tests.audit.shipping_samples import FORK, NOTES, line_of


class Place:
    """A destination that fails when it is told to."""

    name = "file:somewhere"

    def __init__(self) -> None:
        self.got: list[str] = []
        self.failures: list[bool] = []

    def ship(self, note: str) -> None:
        """Keep the note, or fail."""
        if self.failures and self.failures.pop(0):
            raise ShippingFailed("no")
        self.got.append(note)


class Counted(threading.Event):
    """A stop signal that comes after a number of waits, and remembers how long each was to be."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits, self.delays = waits, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait no time at all."""
        self.delays.append(timeout or 0.0)
        return len(self.delays) > self.waits


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)
@given(failures=st.lists(st.booleans(), max_size=20), forgets=st.lists(st.booleans(), max_size=30))
def test_no_checkpoint_is_lost(tmp_path_factory: pytest.TempPathFactory, failures: list[bool], forgets: list[bool]) -> None:
    """With failures, restarts and lost cursors at any point all notes arrive, each first time in order."""
    folder = tmp_path_factory.mktemp("ship")
    place = Place()
    place.failures = failures
    for number in range(40):
        if number < len(NOTES):
            with (folder / "log.jsonl").open("ab") as file:
                file.write(line_of(NOTES[number]))
        Shipper(folder / "log.jsonl", place, folder / "cursors").step()
        if number < len(forgets) and forgets[number]:
            (folder / "cursors" / folder_name(place.name) / "log" / "cursor.json").unlink(missing_ok=True)
    assert list(dict.fromkeys(place.got)) == NOTES


def test_each_note_is_shipped_once_while_nothing_fails(tmp_path: Path) -> None:
    """Without trouble there are no repetitions, also over restarts, and progress counts what was done."""
    place, source = Place(), tmp_path / "log.jsonl"
    source.write_bytes(b"".join(map(line_of, NOTES[:5])))
    assert Shipper(source, place, tmp_path).step() == Progress(place.name, 5, 0, 0, "")
    source.write_bytes(b"".join(map(line_of, NOTES)))
    place.failures = [False, False, True]
    assert Shipper(source, place, tmp_path).step() == Progress(place.name, 2, 5, 0, "ShippingFailed: no")
    assert Shipper(source, place, tmp_path).step() == Progress(place.name, 5, 0, 0, "")
    assert place.got == NOTES


def test_a_step_is_bounded(tmp_path: Path) -> None:
    """One step ships at most a batch and says how much is left."""
    source = tmp_path / "log.jsonl"
    source.write_bytes(line_of(NOTES[0]) * (BATCH + 3))
    shipper = Shipper(source, Place(), tmp_path)
    assert [(progress.shipped, progress.waiting) for progress in (shipper.step(), shipper.step())] == [(BATCH, 3), (3, 0)]


def test_torn_and_damaged_lines_hold_nothing_up(tmp_path: Path) -> None:
    """A line without its end waits for it; one that holds no note is passed over and counted."""
    place, source = Place(), tmp_path / "log.jsonl"
    shipper = Shipper(source, place, tmp_path / "cursors")
    bad = (b"nonsense\n", b'"a note"\n', b"\xff\n", b"[1]\n", b"[" * 100_000 + b"\n", b"x" * 800_000 + b"\n")
    source.write_bytes(line_of(NOTES[0]) + b"".join(bad) + line_of(NOTES[1]) + line_of(NOTES[2])[:-5])
    progress = shipper.step()
    assert (progress.shipped, progress.waiting, place.got) == (2, 0, NOTES[:2])
    assert progress.damaged >= len(bad)
    with source.open("ab") as file:
        file.write(line_of(NOTES[2])[-5:])
    assert shipper.step().shipped == 1
    assert place.got == NOTES[:3]


def test_a_missing_or_replaced_file_is_noticed(tmp_path: Path) -> None:
    """No file yet is no trouble, a file gone is; after another file took its place everything is offered again."""
    place, source = Place(), tmp_path / "log.jsonl"
    shipper = Shipper(source, place, tmp_path / "cursors")
    assert shipper.step().trouble == ""
    source.write_bytes(line_of(NOTES[0]) + line_of(NOTES[1]))
    shipper.step()
    source.unlink()
    assert "gone" in shipper.step().trouble
    source.write_bytes(line_of(NOTES[0]) + line_of(FORK) + line_of(NOTES[2]))
    assert shipper.step().shipped == 3
    assert place.got == [NOTES[0], NOTES[1], NOTES[0], FORK, NOTES[2]]


@pytest.mark.parametrize("cursor", [b"", b"[]", b"{}", b'{"start": "x"}', b'{"start": -5, "stop": 9999999999, "sha256": "0"}'])
def test_a_damaged_cursor_starts_again(tmp_path: Path, cursor: bytes) -> None:
    """A cursor that does not read costs repetitions and no checkpoint."""
    place, source = Place(), tmp_path / "log.jsonl"
    source.write_bytes(line_of(NOTES[0]))
    Shipper(source, place, tmp_path).step()
    (tmp_path / folder_name(place.name) / "log" / "cursor.json").write_bytes(cursor)
    Shipper(source, place, tmp_path).step()
    assert place.got == [NOTES[0], NOTES[0]]


def test_trouble_is_reported_and_backed_off_from(tmp_path: Path) -> None:
    """While a place fails the pauses double to their limit and each failure is reported; success ends both."""
    place, source = Place(), tmp_path / "log.jsonl"
    source.write_bytes(line_of(NOTES[0]))
    place.failures = [True] * 12
    stop, reports = Counted(14), list[Progress]()
    carry(tmp_path, place, tmp_path / "cursors", stop, reports.append)
    assert stop.delays[:6] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert stop.delays[12:] == [BACKOFF_MOST, 1.0, 1.0]
    assert [progress.trouble for progress in reports] == ["ShippingFailed: no"] * 12 + [""]


def test_no_disk_and_no_name_end_the_carrying(tmp_path: Path) -> None:
    """A cursor's folder that cannot be made, or a host that is no name, is reported and backed off from until it is mended."""

    class Nameless(Place):
        def ship(self, note: str) -> None:
            """Fail as a name of a host does that IDNA cannot spell."""
            if len(reports) < 3:
                raise UnicodeError("label too long")
            super().ship(note)

    class Mended(Counted):
        def wait(self, timeout: float | None = None) -> bool:
            """Make room for the folder before the third round."""
            if len(self.delays) == 2:
                cursors.unlink()
            return super().wait(timeout)

    place, cursors, stop, reports = Nameless(), tmp_path / "cursors", Mended(5), list[Progress]()
    (tmp_path / "log.jsonl").write_bytes(line_of(NOTES[0]))
    cursors.write_text("in the way")
    carry(tmp_path, place, cursors, stop, reports.append)
    kinds = [progress.trouble.partition(":")[0] for progress in reports]
    assert kinds == ["FileExistsError", "FileExistsError", "UnicodeError", ""]
    assert stop.delays[:5] == [0.0, 1.0, 2.0, 4.0, 1.0]
    assert place.got == NOTES[:1]


def test_two_places_never_share_a_cursor(tmp_path: Path) -> None:
    """Destinations whose names agree for a long way still have cursors of their own."""
    first, second = Place(), Place()
    first.name, second.name = "file:" + "x" * 300 + "1", "file:" + "x" * 300 + "2"
    source = tmp_path / "log.jsonl"
    source.write_bytes(line_of(NOTES[0]))
    for place in (first, second):
        Shipper(source, place, tmp_path).step()
        assert place.got == NOTES[:1]


def test_what_the_signer_files_is_shipped(tmp_path: Path) -> None:
    """The file that a log's own signer appends to is a source, note for note, and an appended file is one again."""
    ledger = Ledger("acme", tmp_path / "keys", "palimpsest.test")
    notes = []
    for first in (0, 3):
        ledger.committed(run_of(first, 3))
        notes.append(ledger.sign().note)
    (source,) = (tmp_path / "keys" / "checkpoints").iterdir()
    copy, place = tmp_path / "away" / "log.jsonl", Place()
    assert Shipper(source, AppendFile(copy), tmp_path / "cursors").step().shipped == 2
    Shipper(copy, place, tmp_path / "cursors").step()
    assert place.got == notes


def test_a_torn_line_of_the_signer_swallows_no_note(tmp_path: Path) -> None:
    """What a crash left of a note is ended before the next one, so that this one is shipped."""
    ledger = Ledger("acme", tmp_path / "keys", "palimpsest.test")
    ledger.committed(run_of(0, 3))
    ledger.sign()
    (source,) = (tmp_path / "keys" / "checkpoints").iterdir()
    torn = source.read_bytes()[:-9]
    source.write_bytes(torn)
    ledger.committed(run_of(3, 3))
    note, place = ledger.sign().note, Place()
    assert source.read_bytes() == torn + b"\n" + line_of(note)
    progress = Shipper(source, place, tmp_path / "cursors").step()
    assert (place.got, progress.damaged) == ([note], 1)


def test_a_file_only_grows(tmp_path: Path) -> None:
    """A repeated note is not written twice running, and a line that a crash tore is closed, not mended."""
    path = tmp_path / "new" / "log.jsonl"
    place = open_destination(f"file:{path}", tmp_path, {})
    for note in (NOTES[0], NOTES[0], NOTES[1], NOTES[1], NOTES[0]):
        place.ship(note)
    assert path.read_bytes() == line_of(NOTES[0]) + line_of(NOTES[1]) + line_of(NOTES[0])
    before = path.read_bytes()[:-9]
    path.write_bytes(before)
    place.ship(NOTES[0])
    assert path.read_bytes() == before + b"\n" + line_of(NOTES[0])


def test_a_file_that_cannot_be_written_is_trouble(tmp_path: Path) -> None:
    """A place on a path that is no folder is reported and retried, not raised."""
    (tmp_path / "plain").write_text("")
    source = tmp_path / "log.jsonl"
    source.write_bytes(line_of(NOTES[0]))
    progress = Shipper(source, AppendFile(tmp_path / "plain" / "log.jsonl"), tmp_path).step()
    assert (progress.shipped, progress.waiting, progress.trouble != "") == (0, 1, True)
