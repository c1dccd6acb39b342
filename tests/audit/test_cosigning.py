"""Laws of having a log witnessed: several witnesses meet on one note, none that is away holds up another, nothing goes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from audit.cosigning import BACKOFF_FIRST, BACKOFF_MOST, CosignedNotes, Cosigning, WitnessPlace, witness_places
from audit.errors import AuditError, NoteInvalid
from audit.note import Checkpoint, Scheme, decode_vkey, encode_vkey, sign_checkpoint
from audit.outbound import BadAddress
from audit.quorum import Quorum, open_cosigned
from audit.signer import signer_folder
from audit.witness import Witness
from audit.witness_server import WitnessServer
from tests.audit.outside_samples import KEY, ORIGIN, VKEY, Shelf, signed
from tests.audit.witness_samples import FORK, LEAVES, keys_of, running

FIRST, SECOND = "witness.example/w1", "witness.example/w2"


class Clock:
    """A clock that the test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def server_of(folder: Path, name: str) -> WitnessServer:
    """A witness of the sample log on a free port."""
    return WitnessServer(("127.0.0.1", 0), Witness(folder, name, [VKEY]))


def place_of(server: WitnessServer) -> WitnessPlace:
    """How a gateway names it."""
    return WitnessPlace(f"http://127.0.0.1:{server.server_port}/w", tuple(keys_of(server.witness)))


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[WitnessPlace]]:
    """Two witnesses that have seen nothing."""
    servers = [server_of(tmp_path / name[-2:], name) for name in (FIRST, SECOND)]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server))
        yield [place_of(server) for server in servers]


@pytest.fixture
def notes(tmp_path: Path, places: list[WitnessPlace]) -> CosignedNotes:
    """Where notes are kept, beside the public keys of the sample log."""
    folder = signer_folder(tmp_path / "keys", ORIGIN)
    folder.mkdir(parents=True)
    (folder / "public.json").write_text(json.dumps([str(VKEY)]))
    return CosignedNotes(tmp_path / "keys", places)


def quorum(places: list[WitnessPlace], required: int) -> Quorum:
    """So many of these witnesses."""
    return Quorum(required, tuple(key for place in places for key in place.keys))


def kept_size(notes: CosignedNotes, witnesses: Quorum) -> int:
    """The tree of the kept note, which so many witnesses must have signed."""
    note = notes.newest(ORIGIN)
    assert note is not None
    return open_cosigned(note, [VKEY], ORIGIN, witnesses).checkpoint.size


def test_witnesses_meet_on_one_note(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """One round gives a note that a quorum of all accepts, the next one of the grown tree, and a tree is asked about once."""
    cosigning = Cosigning(places, notes)
    for size in (7, 40):
        asked = list(cosigning.ask(signed(LEAVES[:size]), Shelf(LEAVES)))
        assert [(each.witness, each.size, each.trouble) for each in asked] == [(FIRST, size, ""), (SECOND, size, "")]
        assert kept_size(notes, quorum(places, 2)) == size
    assert not list(cosigning.ask(signed(LEAVES), Shelf(LEAVES)))
    assert not list(Cosigning(places, notes).ask(signed(LEAVES), Shelf(LEAVES))), "another process knows it from the note"


def test_one_that_is_away_costs_the_other_nothing(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """Its turn comes again after pauses that double up to a bound, also when the log has not grown meanwhile."""
    clock, away = Clock(), WitnessPlace("http://127.0.0.1:9/w", places[0].keys)
    cosigning = Cosigning([away, places[1]], notes, clock)
    first = list(cosigning.ask(signed(LEAVES), Shelf(LEAVES)))
    assert [each.witness for each in first if each.trouble] == [FIRST] and "Unreachable" in first[0].trouble
    assert kept_size(notes, quorum(places[1:], 1)) == 40
    pause = BACKOFF_FIRST
    for _ in range(9):
        clock.now += pause - 0.01
        assert not list(cosigning.ask(signed(LEAVES), Shelf(LEAVES)))
        clock.now += 0.02
        assert [each.witness for each in cosigning.ask(signed(LEAVES), Shelf(LEAVES))] == [FIRST]
        pause = min(2 * pause, BACKOFF_MOST)
    back = Cosigning([places[0], places[1]], notes, clock)
    assert [each.trouble for each in back.ask(signed(LEAVES), Shelf(LEAVES))] == [""]
    assert kept_size(notes, quorum(places, 2)) == 40


def test_one_that_refuses_a_log_is_asked_about_others(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """A log that a witness does not watch is a trouble of that log alone."""
    cosigning = Cosigning(places[:1], notes, Clock())
    (refused,) = cosigning.ask(sign_checkpoint(Checkpoint("other.test/log", 40, b"r" * 32), KEY), Shelf(LEAVES))
    assert "404" in refused.trouble and notes.newest("other.test/log") is None
    assert [each.trouble for each in cosigning.ask(signed(LEAVES), Shelf(LEAVES))] == [""]


def test_two_histories_and_a_log_gone_back_are_told(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """What the witness has seen otherwise, or more of, is a trouble with words that say so, and the note stays."""
    list(Cosigning(places[:1], notes).ask(signed(LEAVES), Shelf(LEAVES)))
    (forked,) = Cosigning(places[:1], notes, Clock()).ask(signed(FORK), Shelf(FORK))
    assert "two histories" in forked.trouble
    (older,) = Cosigning(places[:1], notes, Clock()).ask(signed(LEAVES[:30]), Shelf(LEAVES[:30]))
    assert "last seen a tree of 40" in older.trouble
    assert kept_size(notes, quorum(places, 1)) == 40


def test_a_log_that_another_gateway_showed_later_is_no_trouble(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """Who is overtaken between two looks keeps silent and asks again; a witness that stands elsewhere every time is told."""
    clock = Clock()
    overtaken, other = Cosigning(places[:1], notes, clock), Cosigning(places[:1], notes, clock)
    assert [each.trouble for each in other.ask(signed(LEAVES), Shelf(LEAVES))] == [""]
    assert not list(overtaken.ask(signed(LEAVES[:30]), Shelf(LEAVES))), "the log has the tree of 40 by now"
    clock.now += BACKOFF_FIRST
    (again,) = overtaken.ask(signed(LEAVES[:30]), Shelf(LEAVES))
    assert "last seen a tree of 40" in again.trouble


def test_a_witness_with_new_keys_is_asked_about_the_same_tree(notes: CosignedNotes, tmp_path: Path) -> None:
    """A log that does not grow is cosigned again when a witness was set up anew; its old line counts for nothing."""
    for folder in ("old", "new"):
        server = server_of(tmp_path / folder, FIRST)
        with running(server):
            place = place_of(server)
            assert [each.trouble for each in Cosigning([place], notes).ask(signed(LEAVES), Shelf(LEAVES))] == [""]
        assert kept_size(notes, quorum([place], 1)) == 40


class _Wanderer(BaseHTTPRequestHandler):
    sizes: tuple[str, ...] = ("7", "0", str((1 << 63) - 1))

    def do_POST(self) -> None:
        """Stand at another size each time."""
        self.rfile.read(int(self.headers["Content-Length"]))
        first, *rest = self.sizes
        type(self).sizes = (*rest, first)
        self.send_response(409)
        self.send_header("Content-Type", "text/x.tlog.size")
        self.end_headers()
        self.wfile.write(f"{first}\n".encode())

    def log_message(self, *_: object) -> None:
        """Be silent."""


def test_a_witness_that_stands_nowhere_costs_the_other_nothing(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """Whatever sizes it names, it is told as a trouble and the next one is asked."""
    clock = Clock()
    with running(HTTPServer(("127.0.0.1", 0), _Wanderer)) as port:
        cosigning = Cosigning([WitnessPlace(f"http://127.0.0.1:{port}", places[0].keys), places[1]], notes, clock)
        for size in (11, 30, 40):
            asked = list(cosigning.ask(signed(LEAVES[:size]), Shelf(LEAVES[:size])))
            assert [each.witness for each in asked if not each.trouble] == [SECOND]
            assert [each.witness for each in asked if each.trouble] == [FIRST]
            clock.now += BACKOFF_MOST


def test_a_note_that_many_have_seen_gives_way_when_all_were_asked(places: list[WitnessPlace], notes: CosignedNotes) -> None:
    """While the second witness is still to be asked the kept note stays one of both; if it is away, the first one's counts."""
    cosigning = Cosigning(places, notes)
    list(cosigning.ask(signed(LEAVES[:11]), Shelf(LEAVES[:11])))
    asking = cosigning.ask(signed(LEAVES[:30]), Shelf(LEAVES[:30]))
    assert next(asking).witness == FIRST and kept_size(notes, quorum(places, 2)) == 11
    assert next(asking).witness == SECOND and kept_size(notes, quorum(places, 2)) == 30
    away = Cosigning([places[0], WitnessPlace("http://127.0.0.1:9/w", places[1].keys)], notes)
    list(away.ask(signed(LEAVES), Shelf(LEAVES)))
    assert kept_size(notes, quorum(places[:1], 1)) == 40


def test_a_kept_note_never_gets_less(places: list[WitnessPlace], notes: CosignedNotes, tmp_path: Path) -> None:
    """Neither a smaller tree nor fewer signatures take its place; a damaged or strange file counts as none, and is mended."""
    assert notes.newest(ORIGIN) is None
    list(Cosigning(places, notes).ask(signed(LEAVES), Shelf(LEAVES)))
    best = notes.newest(ORIGIN)
    for worse in (signed(LEAVES), signed(LEAVES[:39])):
        notes.keep(worse)
        assert notes.newest(ORIGIN) == best
    (file,) = (tmp_path / "keys" / "cosigned").glob("*.note")
    assert file.stat().st_mode & 0o777 == 0o600
    assert best is not None
    lines = best.splitlines(keepends=True)[4:]
    torn = [best.replace("\n40\n", "\n39\n"), *(best.replace(line, f"{line[:60]}AAAA{line[64:]}") for line in lines)]
    for damaged in (b"", b"\xff", signed(LEAVES, "another.test/log").encode(), *map(str.encode, torn)):
        file.write_bytes(damaged)
        assert notes.newest(ORIGIN) is None and notes.damaged(ORIGIN)
    notes.keep(signed(LEAVES[:3]))
    assert notes.newest(ORIGIN) == signed(LEAVES[:3])


def test_witnesses_are_named_by_url_and_keys(tmp_path: Path) -> None:
    """A URL with the keys behind it, several one after the other, is read back; anything else says what one looks like."""
    witnesses = [Witness(tmp_path / name[-2:], name, [VKEY]) for name in (FIRST, SECOND)]
    (one, lattice), (two, _) = (witness.vkeys for witness in witnesses)
    urls = "https://one.example/w", "http://10.0.0.2:7380"
    found = witness_places([urls[0], one, lattice, urls[1], two])
    assert [(place.url, place.name, len(place.keys)) for place in found] == [(urls[0], FIRST, 2), (urls[1], SECOND, 1)]
    assert found[1].keys == (decode_vkey(two),) and witness_places([]) == ()
    for wrong in ([one], [urls[0]], [urls[0], one, two], [urls[0], one, urls[1], one], ["ftp://host/", one]):
        with pytest.raises(BadAddress):
            witness_places(wrong)
    twin = encode_vkey(SECOND, decode_vkey(one).public, Scheme.COSIGNATURE)
    for unusable in ([urls[0], "nonsense"], [urls[0], str(VKEY)], [urls[0], one, urls[1], twin]):
        with pytest.raises(NoteInvalid):
            witness_places(unusable)
    with pytest.raises(AuditError):
        witness_places(["http://user@host/", one])


def test_witnesses_whose_lines_a_note_cannot_hold_are_refused(tmp_path: Path) -> None:
    """A note has sixteen signatures at most, two of which are the log's: seven witnesses with two keys fill it."""
    words = [
        word for index in range(8)
        for word in (f"http://10.0.0.{index}", *Witness(tmp_path / str(index), f"w{index}", [VKEY]).vkeys)
    ]  # fmt: skip
    assert len(witness_places(words[:21])) == 7
    with pytest.raises(BadAddress, match="14 keys"):
        witness_places(words)
