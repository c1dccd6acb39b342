"""Laws of asking a witness, over a real socket: what its door lets in, and what of its answer is believed."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from urllib.parse import quote

import pytest

from audit import witness_server
from audit.errors import NoteInvalid
from audit.note import cosignature_line, decode_vkey, split_note
from audit.outbound import BadAddress, Unreachable
from audit.quorum import Quorum, open_cosigned
from audit.witness import MAX_REQUEST_BYTES, Submission
from audit.witness_server import WitnessServer
from audit.witnessing import WitnessElsewhere, WitnessRefused, cosign_from_tiles, submit
from tests.audit.outside_samples import KEY, ORIGIN, VKEY, Shelf, signed
from tests.audit.witness_samples import FORK, LEAVES, NAME, asked, body_of, cosigner, keys_of, new_witness, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    """A witness that has seen nothing, on a free port."""
    opened = WitnessServer(("127.0.0.1", 0), new_witness(tmp_path / "w"))
    with running(opened):
        yield opened


def prefix_of(server: WitnessServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/some/prefix/"


def test_over_a_socket_a_note_comes_back_cosigned(server: WitnessServer) -> None:
    """The client proves from tiles, learns from a conflict where the witness stands, and gets a note a quorum accepts."""
    keys = keys_of(server.witness)
    shelf = Shelf(LEAVES)
    first = cosign_from_tiles(prefix_of(server), signed(LEAVES[:11]), shelf, keys)
    opened = open_cosigned(first, [VKEY], ORIGIN, Quorum(1, tuple(keys)))
    assert (opened.checkpoint.size, len(opened.witnesses)) == (11, 2)
    again = cosign_from_tiles(prefix_of(server), first, shelf, keys, old_size=11)
    assert again.count("\u2014") == 3
    later = cosign_from_tiles(prefix_of(server), signed(LEAVES), shelf, keys[:1], old_size=3)
    assert open_cosigned(later, [VKEY], ORIGIN, Quorum(1, tuple(keys))).checkpoint.size == 40
    assert later.count("\u2014") == 2
    with pytest.raises(WitnessElsewhere, match="40"):
        cosign_from_tiles(prefix_of(server), signed(LEAVES[:11]), shelf, keys)


def test_over_a_socket_a_fork_is_named(server: WitnessServer) -> None:
    """A second history of the same size is refused with words that say what it means; an unknown log with its status."""
    keys = keys_of(server.witness)
    cosign_from_tiles(prefix_of(server), signed(LEAVES), Shelf(LEAVES), keys)
    with pytest.raises(WitnessRefused, match="two histories"):
        submit(prefix_of(server), Submission(40, (), signed(FORK)), keys)
    with pytest.raises(WitnessRefused, match="404"):
        submit(prefix_of(server), Submission(0, (), signed(LEAVES, "unknown.test/log")), keys)


def test_many_at_once_are_cosigned_in_one_order(server: WitnessServer) -> None:
    """Of concurrent requests from one state exactly one succeeds; every other learns of the new state."""
    port = server.server_port

    def ask(size: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/add-checkpoint", body_of(0, size))
            return connection.getresponse().status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(ask, range(1, 17)))
    assert statuses == [200, *[409] * 15]


def test_what_cannot_be_stored_is_not_cosigned(server: WitnessServer, tmp_path: Path) -> None:
    """A disk that refuses the new state costs the client a 500 and gets it no cosignature; the old state stands."""
    obstacle = tmp_path / "w" / "logs" / f".{quote(ORIGIN, safe='')}.json.{os.getpid()}.tmp"
    obstacle.mkdir()
    with pytest.raises(WitnessRefused, match="500"):
        submit(prefix_of(server), asked(0, 9), keys_of(server.witness))
    obstacle.rmdir()
    assert submit(prefix_of(server), asked(0, 5), keys_of(server.witness)).count("\u2014") == 3


def test_the_door_keeps_alive_and_keeps_bounds(server: WitnessServer) -> None:
    """Two requests travel over one connection; a body too long, of unknown length or elsewhere is refused unread."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for old, size in ((0, 5), (5, 6)):
        connection.request("POST", "/add-checkpoint", body_of(old, size))
        answer = connection.getresponse()
        assert (answer.status, answer.version) == (200, 11)
        answer.read()
    connection.close()
    for path, headers, status in (
        ("/add-checkpoint", {"Content-Length": str(MAX_REQUEST_BYTES + 1)}, 413),
        ("/add-checkpoint", {"Content-Length": "9" * 30}, 413),
        ("/add-checkpoint", {"Content-Length": "-1"}, 411),
        ("/add-checkpoint", {"Transfer-Encoding": "chunked"}, 411),
        ("/elsewhere", {"Content-Length": "0"}, 404),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.putrequest("POST", path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()


def test_no_part_of_an_answer_waits_for_the_client(server: WitnessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nagle's algorithm is off: a body follows its headers at once, not when a client has acknowledged them."""
    set_off: Queue[int] = Queue()
    closed = server.shutdown_request

    def looked(request: socket.socket) -> None:
        set_off.put(request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        closed(request)

    monkeypatch.setattr(server, "shutdown_request", looked)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("POST", "/add-checkpoint", body_of(0, 5))
    assert connection.getresponse().status == 200
    connection.close()
    assert set_off.get(timeout=10) == 1


def test_a_slow_or_silent_client_is_hung_up_on(server: WitnessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection ends after its time, however it is kept busy, and the witness goes on serving."""
    monkeypatch.setattr(witness_server, "SECONDS_MOST", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), 10) as slow:
        slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1000\r\n\r\nold 0")
        assert slow.recv(100) == b""
    assert submit(prefix_of(server), asked(0, 5), keys_of(server.witness)).count("\u2014") == 3


def test_too_many_connections_are_turned_away(server: WitnessServer) -> None:
    """Beyond the limit a connection is closed at once, and there is room again when others have gone."""
    port = server.server_port
    held = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(witness_server.MAX_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", port), 10) as extra:
        assert extra.recv(1) == b""
    for each in held:
        each.close()


class _Liar(BaseHTTPRequestHandler):
    answer: tuple[int, str, bytes] = (200, "text/plain", b"")

    def do_POST(self) -> None:
        """Say what the test wants said."""
        status, kind, body = self.answer
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def liar() -> Iterator[str]:
    """A server that answers whatever `_Liar.answer` says."""
    with running(HTTPServer(("127.0.0.1", 0), _Liar)) as port:
        yield f"http://127.0.0.1:{port}"


STRANGER_LINE = cosignature_line(signed(LEAVES).split("\n\n")[0] + "\n", "stranger", KEY, 5).encode()
TIMELESS_LINE = cosignature_line(signed(LEAVES).split("\n\n")[0] + "\n", NAME, KEY, 0).encode()
LONG_NAME = f"\u2014 {'n' * 50_000} {'A' * 96}\n".encode()
LONGER = split_note(signed(LEAVES)).text + "\nmore\n"
LONGER_ANSWER = f"more\n\n{cosignature_line(LONGER, NAME, KEY, 5)}".encode()
"""Behind the text of the note, its lines make a longer text, over which the cosignature is."""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, "text/plain", b""), NoteInvalid), ((200, "text/plain", b"\xff\x00"), NoteInvalid),
        ((200, "text/plain", LONGER_ANSWER), NoteInvalid), ((200, "text/plain", LONG_NAME), NoteInvalid),
        ((200, "text/plain", STRANGER_LINE), NoteInvalid), ((200, "text/plain", TIMELESS_LINE), NoteInvalid),
        ((200, "text/plain", b"x" * 70_000), Unreachable), ((409, "text/x.tlog.size", b"many\n"), WitnessRefused),
        ((409, "text/x.tlog.size", b"9" * 19 + b"\n"), WitnessRefused),
        ((409, "text/x.tlog.size", b"7\n"), WitnessElsewhere), ((409, "text/plain", b"7\n"), WitnessRefused),
        ((302, "text/plain", b""), WitnessRefused), ((500, "text/plain", b"\xff"), WitnessRefused),
    ],
)  # fmt: skip
def test_a_lying_witness_is_not_believed(liar: str, answer: tuple[int, str, bytes], error: type[Exception]) -> None:
    """Whatever a server answers, only a timed cosignature under the witness's own key is taken over."""
    _Liar.answer = answer
    with pytest.raises(error) as told:
        submit(liar, asked(0, 40), [cosigner(NAME, KEY)])
    assert len(str(told.value)) < 1000, "a message stands in the log and on a page"


def test_an_absent_witness_and_a_bad_address_are_named(tmp_path: Path) -> None:
    """Nobody there is Unreachable; what is no http URL is BadAddress."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            submit(f"http://127.0.0.1:{unused.getsockname()[1]}", asked(0, 40), [VKEY])
    for prefix in ("file:///etc", "https://", "http://user@host", "http://host/?q", "http://[::1", "nonsense"):
        with pytest.raises(BadAddress):
            submit(prefix, asked(0, 40), [VKEY])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_a_witness(tmp_path: Path, number: signal.Signals) -> None:
    """`python -m audit witness` prints its keys, cosigns over its port and stops when told to."""
    command = [sys.executable, "-m", "audit", "witness", "--folder", str(tmp_path / "w"), "--name", NAME,
               "--log", str(VKEY), "--port", "0"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        keys = [decode_vkey(process.stdout.readline()) for _ in range(2)]
        port = process.stdout.readline().split()[-1]
        note = submit(f"http://127.0.0.1:{port}", asked(0, 40), keys)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert len(open_cosigned(note, [VKEY], ORIGIN, Quorum(1, tuple(keys))).witnesses) == 2
