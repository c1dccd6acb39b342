"""RFC 3161: a timestamp authority states when it was shown the digest of a checkpoint.

The request is written and the reply read by hand, in the few forms of DER that they use. What is checked here is that
the authority granted a token and that the token is over our digest and nonce; its signature and certificate are for
`openssl ts -verify`, which takes the note and the stored reply.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import SplitResult, quote

from audit.durable import make_folder, write_durably
from audit.errors import MalformedData
from audit.note import tree_of
from audit.outbound import request
from audit.shipping import ShippingFailed, folder_name

_BOOLEAN, _INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _TIME, _EXPLICIT_0 = 0x01, 0x02, 0x04, 0x06, 0x30, 0x31, 0x18, 0xA0
_SHA256 = bytes.fromhex("608648016503040201")
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
_GRANTED = {0, 1}


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def timestamp_request(digest: bytes, nonce: int) -> bytes:
    """The TimeStampReq for a SHA-256 digest; it asks for the authority's certificate too."""
    algorithm = _der(_SEQUENCE, _der(_OID, _SHA256), b"\x05\x00")
    imprint = _der(_SEQUENCE, algorithm, _der(_OCTETS, digest))
    return _der(_SEQUENCE, _integer(1), imprint, _integer(nonce), _der(_BOOLEAN, b"\xff"))


@dataclass(slots=True)
class _Reader:
    """The elements inside one DER element, taken in order."""

    data: bytes
    at: int = 0

    def more(self) -> bool:
        return self.at < len(self.data)

    def peek(self) -> int:
        return self.data[self.at] if self.more() else -1

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag; raises MalformedData."""
        if self.peek() != tag or len(self.data) < self.at + 2:
            raise MalformedData(f"the reply lacks an element of tag {tag:#04x}")
        start, size = self.at + 2, self.data[self.at + 1]
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(self.data[start : start + count], "big")
            start += count
            if not 1 <= count <= 4 or size < 0x80:
                raise MalformedData("the reply has a length that DER does not allow")
        if start + size > len(self.data):
            raise MalformedData("the reply ends in the middle of an element")
        self.at = start + size
        return self.data[start : self.at]

    def enter(self, tag: int) -> _Reader:
        return _Reader(self.take(tag))

    def expect(self, tag: int, content: bytes, what: str) -> None:
        if self.take(tag) != content:
            raise MalformedData(f"the reply is not {what}")


def check_reply(reply: bytes, digest: bytes, nonce: int) -> None:
    """Raise unless a TimeStampResp grants a token over this SHA-256 digest and nonce.

    ShippingFailed for a refusal, MalformedData for anything else. The token's signature is not verified.
    """
    outer = _Reader(reply)
    response = outer.enter(_SEQUENCE)
    status = int.from_bytes(response.enter(_SEQUENCE).take(_INTEGER), "big")
    if status not in _GRANTED:
        raise ShippingFailed(f"the timestamp authority refused with status {status}")
    token = response.enter(_SEQUENCE)
    token.expect(_OID, _SIGNED_DATA, "signed data")
    signed = token.enter(_EXPLICIT_0).enter(_SEQUENCE)
    signed.take(_INTEGER)
    signed.take(_SET)
    content = signed.enter(_SEQUENCE)
    content.expect(_OID, _TST_INFO, "a timestamp")
    _check_info(_Reader(content.enter(_EXPLICIT_0).take(_OCTETS)).enter(_SEQUENCE), digest, nonce)
    if outer.more():
        raise MalformedData("something follows the reply")


def _check_info(info: _Reader, digest: bytes, nonce: int) -> None:
    info.take(_INTEGER)
    info.take(_OID)
    imprint = info.enter(_SEQUENCE)
    imprint.enter(_SEQUENCE).expect(_OID, _SHA256, "over a SHA-256 digest")
    imprint.expect(_OCTETS, digest, "over our digest")
    info.take(_INTEGER)
    info.take(_TIME)
    for tag in (_SEQUENCE, _BOOLEAN):  # accuracy and ordering, where given
        if info.peek() == tag:
            info.take(tag)
    if int.from_bytes(info.take(_INTEGER), "big") != nonce:
        raise MalformedData("the reply answers another request")


class TimestampAuthority:
    """A timestamp authority over HTTP; a reply is kept as `<size>-<digest>.tsr` beside the `.txt` of its note."""

    def __init__(self, url: SplitResult, receipts: Path) -> None:
        self._url, self._receipts = url, receipts

    @property
    def name(self) -> str:
        """The authority's URL."""
        return f"rfc3161+{self._url.geturl()}"

    def ship(self, note: str) -> None:
        """Have the SHA-256 of the whole note timestamped and keep the reply; does nothing for a note that has one."""
        tree = tree_of(note)
        data = note.encode()
        digest, nonce = hashlib.sha256(data).digest(), secrets.randbits(62) | 1 << 62
        folder = self._receipts / folder_name(self.name) / quote(tree.origin, safe="")
        receipt = folder / f"{tree.size:020d}-{digest.hex()[:16]}.tsr"
        if receipt.exists():
            return
        headers = {"content-type": "application/timestamp-query", "accept": "application/timestamp-reply"}
        answer = request("POST", self._url, headers, timestamp_request(digest, nonce))
        if answer.status != HTTPStatus.OK:
            raise ShippingFailed(f"{self.name} answered {answer.status}")
        check_reply(answer.body, digest, nonce)
        make_folder(folder)
        write_durably(receipt.with_suffix(".txt"), data)
        write_durably(receipt, answer.body)
