"""Checkpoints in an S3-compatible bucket, best one with object lock: written once, never over another.

Requests are signed with AWS Signature Version 4. A checkpoint's name says its log and size, so a second history of the
same size collides with the first and is noticed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import SplitResult, parse_qsl, quote

from audit.errors import NoteInvalid
from audit.note import split_note, tree_of
from audit.outbound import Answer, BadAddress, request
from audit.shipping import ShippingFailed

_SCHEME = "AWS4-HMAC-SHA256"
_REGION = re.compile(r"[a-z0-9-]{1,64}")


class HistoriesDiffer(ShippingFailed):
    """The bucket holds another tree of this log and size: one of the two histories is false. Keep both."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An access key; its parts are never shown."""

    key_id: str
    secret: str
    token: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Credentials:
        """From the usual three variables; raises BadAddress naming what is missing."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        key_id, secret = (environment.get(name, "") for name in names)
        if not key_id or not secret:
            raise BadAddress(f"an object store needs {names[0]} and {names[1]} in the environment")
        return cls(key_id, secret, environment.get("AWS_SESSION_TOKEN", ""))


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """One prefix in one bucket of one region, addressed by path."""

    url: SplitResult
    region: str
    credentials: Credentials

    @classmethod
    def open(cls, url: SplitResult, query: str, credentials: Credentials) -> ObjectStore:
        """From https://HOST/BUCKET/PREFIX and `region=NAME`; raises BadAddress."""
        options = dict(parse_qsl(query, keep_blank_values=True))
        region = options.pop("region", "us-east-1")
        if options or not _REGION.fullmatch(region) or not url.path.strip("/"):
            raise BadAddress("an object store is s3+https://HOST/BUCKET/PREFIX?region=NAME")
        return cls(url._replace(path=url.path.rstrip("/")), region, credentials)

    @property
    def name(self) -> str:
        """The prefix's URL, without the credentials."""
        return f"s3+{self.url.geturl()}"

    def ship(self, note: str) -> None:
        """Write the note unless this log and size are there already; then they must be of the same tree."""
        tree = tree_of(note)
        path = f"{self.url.path}/{quote(tree.origin, safe='/')}/{tree.size:020d}.txt"
        data = note.encode()
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        answer = self._send("PUT", path, {"if-none-match": "*", "x-amz-checksum-sha256": checksum}, data)
        if answer.status == HTTPStatus.PRECONDITION_FAILED:
            self._compare(path, note)
        elif answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT}:
            raise ShippingFailed(f"{self.name} answered {answer.status}: {answer.body[:200]!r}")

    def _compare(self, path: str, note: str) -> None:
        answer = self._send("GET", path, {}, b"")
        if answer.status != HTTPStatus.OK:
            raise ShippingFailed(f"{self.name} has this checkpoint and answered {answer.status} when asked for it")
        try:
            stored = split_note(answer.body.decode("utf-8", "replace")).text
        except NoteInvalid as error:
            raise HistoriesDiffer(f"{self.name} holds something else at {path}") from error
        if stored != split_note(note).text:
            raise HistoriesDiffer(f"{self.name} holds another tree at {path}: two histories were signed; keep both")

    def _send(self, method: str, path: str, extra: Mapping[str, str], data: bytes) -> Answer:
        now = datetime.now(UTC)
        headers = {
            "host": self.url.netloc,
            "x-amz-content-sha256": hashlib.sha256(data).hexdigest(),
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            **({"x-amz-security-token": self.credentials.token} if self.credentials.token else {}),
            **extra,
        }
        headers["authorization"] = authorization(self.credentials, self.region, method, path, headers)
        return request(method, self.url._replace(path=path), headers, data)


def authorization(credentials: Credentials, region: str, method: str, path: str, headers: Mapping[str, str]) -> str:
    """The Authorization header of an S3 request (Signature Version 4, all headers signed, no query).

    `path` is percent-encoded already, `headers` have lower-case names and include host, x-amz-date (whose time is the
    time of signing) and x-amz-content-sha256.
    """
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    canonical = "\n".join((method, path, "", lines, names, headers["x-amz-content-sha256"]))
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join((_SCHEME, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"{_SCHEME} Credential={credentials.key_id}/{scope},SignedHeaders={names},Signature={signature}"
