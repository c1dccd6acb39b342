"""Laws of timestamps: OpenSSL reads what we ask and we read what it answers; nothing else counts as a token."""

import base64
import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.destinations import open_destination
from audit.errors import AuditError, MalformedData
from audit.shipping import Destination, ShippingFailed
from audit.timestamp import check_reply, timestamp_request
from tests.audit.shipping_samples import NOTES
from tests.audit.witness_samples import running

VECTOR = json.loads((Path(__file__).parent / "vectors" / "timestamp.json").read_text())


def test_requests_and_replies_are_those_of_openssl() -> None:
    """Our request is the bytes that OpenSSL read and answered, and its answer is accepted for that digest and nonce."""
    digest, nonce, reply = bytes.fromhex(VECTOR["digest"]), VECTOR["nonce"], base64.b64decode(VECTOR["reply"])
    assert timestamp_request(digest, nonce).hex() == VECTOR["request"]
    check_reply(reply, digest, nonce)
    with pytest.raises(MalformedData, match="digest"):
        check_reply(reply, bytes(32), nonce)
    with pytest.raises(MalformedData, match="another request"):
        check_reply(reply, digest, nonce + 1)
    with pytest.raises(MalformedData):
        check_reply(reply + b"\x00", digest, nonce)
    with pytest.raises(ShippingFailed, match="status 2"):
        check_reply(bytes.fromhex("30053003020102"), digest, nonce)


@given(st.data())
def test_cut_and_arbitrary_replies_are_refused_cleanly(data: st.DataObject) -> None:
    """A reply cut short, garbage, and a reply with any byte changed for another digest raise our errors and no others."""
    reply = base64.b64decode(VECTOR["reply"])
    raw = bytearray(reply)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    garbage = data.draw(st.binary(max_size=60))
    for case in (bytes(raw), reply[: data.draw(st.integers(0, len(reply) - 1))], garbage):
        with pytest.raises((MalformedData, ShippingFailed)):
            check_reply(case, hashlib.sha256(case).digest(), VECTOR["nonce"])


class Authority(BaseHTTPRequestHandler):
    """A timestamp authority that puts the asked digest and nonce into OpenSSL's reply; its signature is then void."""

    asked = 0
    status = 200
    honest = True

    def do_POST(self) -> None:
        """Answer a request."""
        Authority.asked += 1
        query = self.rfile.read(int(self.headers["Content-Length"]))
        old = bytes.fromhex(VECTOR["digest"]), VECTOR["nonce"].to_bytes(8, "big")
        new = query[24:56], query[58:66]
        body = base64.b64decode(VECTOR["reply"])
        for before, after in zip(old, new, strict=True) if self.honest else ():
            body = body.replace(before, after)
        self.send_response(self.status if self.headers["Content-Type"] == "application/timestamp-query" else 415)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Destination]:
    """A timestamp authority on a real HTTP server; receipts lie in `tmp_path`."""
    Authority.asked, Authority.status, Authority.honest = 0, 200, True
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Authority)) as port:
        yield open_destination(f"rfc3161+http://127.0.0.1:{port}/tsa", tmp_path, {})


def test_a_token_is_kept_beside_its_note(authority: Destination, tmp_path: Path) -> None:
    """Each note is timestamped once, and the reply lies beside the very bytes that it is over."""
    for note in (NOTES[0], NOTES[0], NOTES[1]):
        authority.ship(note)
    assert Authority.asked == 2
    for receipt in tmp_path.rglob("*.tsr"):
        held = receipt.with_suffix(".txt").read_bytes()
        assert held.decode() in NOTES[:2] and hashlib.sha256(held).digest() in receipt.read_bytes()
    assert len(list(tmp_path.rglob("*.tsr"))) == 2


def test_an_authority_that_answers_wrongly_is_a_failure(authority: Destination, tmp_path: Path) -> None:
    """A token over something else, or an error status, leaves no receipt, and the note is offered again."""
    Authority.honest = False
    with pytest.raises(AuditError):
        authority.ship(NOTES[0])
    Authority.honest, Authority.status = True, 503
    with pytest.raises(ShippingFailed, match="503"):
        authority.ship(NOTES[0])
    assert list(tmp_path.rglob("*.tsr")) == []
    Authority.status = 200
    authority.ship(NOTES[0])
    assert len(list(tmp_path.rglob("*.tsr"))) == 1
