"""Laws of the object store: written once, never over another, and signed as S3 demands."""

import base64
import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from audit.destinations import open_destination
from audit.objectstore import Credentials, HistoriesDiffer, authorization
from audit.shipping import Destination, ShippingFailed
from tests.audit.shipping_samples import FORK, NOTES, SECRETS
from tests.audit.witness_samples import running


class Bucket(BaseHTTPRequestHandler):
    """An object store of one bucket: conditional writes, checksums and signatures as S3 demands them."""

    objects: dict[str, bytes]
    broken = 0

    def do_PUT(self) -> None:
        """Write once."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if not self._signed(body) or self.headers["x-amz-checksum-sha256"] != checksum:
            self._answer(403, b"SignatureDoesNotMatch")
        elif self.broken:
            self._answer(self.broken, b"try again")
        elif self.headers["If-None-Match"] == "*" and self.path in self.objects:
            self._answer(412, b"PreconditionFailed")
        else:
            self.objects[self.path] = body
            self._answer(200, b"")

    def do_GET(self) -> None:
        """Read what was written."""
        allowed = self._signed(b"")
        self._answer(200 if allowed else 403, self.objects[self.path] if allowed else b"")

    def _signed(self, body: bytes) -> bool:
        given = self.headers["Authorization"]
        names = given.split("SignedHeaders=")[1].split(",")[0].split(";")
        headers = {name: self.headers[name] for name in names}
        needed = {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
        right = authorization(Credentials("key", "secret"), "eu-test-1", self.command, self.path, headers)
        return given == right and needed <= set(names) and headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Destination]:
    """A prefix in an empty bucket of a real HTTP server."""
    Bucket.objects, Bucket.broken = {}, 0
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Bucket)) as port:
        yield open_destination(f"s3+http://127.0.0.1:{port}/evidence/logs?region=eu-test-1", tmp_path, SECRETS)


def test_an_object_is_written_once_under_its_size(bucket: Destination) -> None:
    """Each note lies under its log and size, byte for byte; repeating it changes nothing and is no failure."""
    for note in (NOTES[0], NOTES[4], NOTES[4]):
        bucket.ship(note)
    assert Bucket.objects == {
        f"/evidence/logs/palimpsest.test/acme/{size:020d}.txt": NOTES[size - 1].encode() for size in (1, 5)
    }


def test_a_second_history_in_the_bucket_is_named(bucket: Destination) -> None:
    """Another tree of a size that is there, or anything else under its name, is refused and nothing is overwritten."""
    bucket.ship(NOTES[4])
    with pytest.raises(HistoriesDiffer, match="two histories"):
        bucket.ship(FORK)
    ((path, kept),) = Bucket.objects.items()
    assert kept == NOTES[4].encode()
    Bucket.objects[path] = b"not a note"
    with pytest.raises(HistoriesDiffer, match="something else"):
        bucket.ship(NOTES[4])


@pytest.mark.parametrize("status", [301, 409, 500, 503])
def test_a_bucket_that_does_not_take_it_is_a_failure(bucket: Destination, status: int) -> None:
    """Whatever is no success is reported with its status and offered again."""
    Bucket.broken = status
    with pytest.raises(ShippingFailed, match=str(status)):
        bucket.ship(NOTES[0])
    Bucket.broken = 0
    bucket.ship(NOTES[0])


def test_signatures_are_those_that_aws_publishes() -> None:
    """The two header-signed S3 examples of the Signature Version 4 documentation come out as documented."""
    key = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    common = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z"}
    get = {**common, "range": "bytes=0-9", "x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
    put = {**common, "date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY",
           "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()}  # fmt: skip
    assert authorization(key, "us-east-1", "GET", "/test.txt", get) == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    assert authorization(key, "us-east-1", "PUT", "/test%24file.text", put).endswith(
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )
    assert "wJalr" not in repr(key)
