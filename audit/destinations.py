"""Places for checkpoints that need no more than a file or a socket, and the reading of every place's URL."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from audit.durable import appending, ending
from audit.note import encode_base64, tree_of
from audit.objectstore import Credentials, ObjectStore
from audit.outbound import BadAddress, http_url
from audit.shipping import Destination, ShippingFailed
from audit.timestamp import TimestampAuthority

SECONDS_MOST = 10.0
_PRIORITY = 13 * 8 + 5  # RFC 5424: facility "log audit", severity "notice"
_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
FORMS = (
    "a destination is file:PATH, s3+https://HOST/BUCKET/PREFIX?region=NAME, syslog+udp://HOST:PORT (or tcp, tls) "
    "or rfc3161+https://HOST/PATH"
)


def open_destination(text: str, receipts: Path, environment: Mapping[str, str]) -> Destination:
    """The destination that a URL names; raises BadAddress.

    `receipts` is a folder for what a place hands back (tokens of a timestamp authority). An object store takes its
    credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if set, AWS_SESSION_TOKEN in `environment`.
    """
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise BadAddress(FORMS) from error
    kind, _, transport = url.scheme.partition("+")
    if url.username or url.password or url.fragment:
        raise BadAddress(f"{FORMS}; none holds a user, a password or a fragment")
    if url.scheme == "file" and url.path and not url.netloc and not url.query:
        return AppendFile(Path(url.path))
    if kind == "syslog" and transport in _PORTS and host and url.path in {"", "/"} and not url.query:
        return Syslog(transport, host, port or _PORTS[transport])
    if kind == "s3" and host:
        return ObjectStore.open(_plain(url, transport), url.query, Credentials.read(environment))
    if kind == "rfc3161" and host and not url.query:
        return TimestampAuthority(_plain(url, transport), receipts)
    raise BadAddress(FORMS)


def _plain(url: SplitResult, transport: str) -> SplitResult:
    return http_url(url._replace(scheme=transport, query="").geturl())


class AppendFile:
    """A file that only grows, one JSON string a line; best on a disk of another machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The file's URL."""
        return f"file:{self._path}"

    def ship(self, note: str) -> None:
        """Append the note, durably, unless it is the newest line already."""
        line = json.dumps(note).encode() + b"\n"
        with appending(self._path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - len(line) - 1, 0))
            if file.read() not in {line, b"\n" + line}:
                # A line that a crash tore is closed and left: a file that only grows is never mended.
                file.write(ending(file) + line)


class Syslog:
    """An RFC 5424 collector over UDP, TCP or TLS (RFC 5426, 6587 octet counting, 5425).

    Syslog acknowledges nothing: shipped means handed over, and over UDP merely sent.
    """

    def __init__(self, transport: str, host: str, port: int) -> None:
        """`transport` is udp, tcp or tls."""
        self._transport, self._address = transport, (host, port)

    @property
    def name(self) -> str:
        """The collector's URL."""
        return f"syslog+{self._transport}://{self._address[0]}:{self._address[1]}"

    def ship(self, note: str) -> None:
        """Send one message; raises ShippingFailed when the connection does not come about or breaks."""
        message = syslog_message(note, datetime.now(UTC), socket.gethostname())
        try:
            if self._transport == "udp":
                self._send_datagram(message)
            else:
                self._send_stream(b"%d %s" % (len(message), message))
        except OSError as error:
            raise ShippingFailed(f"{self.name} does not take messages: {error}") from error

    def _send_datagram(self, message: bytes) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        with closing(socket.socket(family, kind, protocol)) as channel:
            channel.settimeout(SECONDS_MOST)
            channel.sendto(message, address)

    def _send_stream(self, frame: bytes) -> None:
        with closing(socket.create_connection(self._address, SECONDS_MOST)) as plain:
            if self._transport == "tls":
                with ssl.create_default_context().wrap_socket(plain, server_hostname=self._address[0]) as channel:
                    channel.sendall(frame)
                    with suppress(TimeoutError, ssl.SSLError):
                        channel.unwrap()
                return
            plain.sendall(frame)
            plain.shutdown(socket.SHUT_WR)
            # A collector that reads to the end closes too; a reset, in contrast, means that it did not read.
            with suppress(TimeoutError):
                plain.recv(1)


def syslog_message(note: str, now: datetime, host: str) -> bytes:
    """The RFC 5424 message of a note, in ASCII: what matters comes first, for collectors that cut long messages."""
    tree = tree_of(note)
    body = json.dumps({"origin": tree.origin, "size": tree.size, "root": encode_base64(tree.root), "note": note})
    named = "".join(char for char in host if "!" <= char <= "~")[:255] or "-"
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"<{_PRIORITY}>1 {stamp} {named} palimpsest {os.getpid()} checkpoint - {body}".encode("ascii")
