"""Laws of destinations: their URLs, and syslog as collectors on real sockets see it."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from audit.destinations import open_destination, syslog_message
from audit.outbound import BadAddress
from audit.shipping import ShippingFailed
from tests.audit.shipping_samples import NOTES, SECRETS


def test_a_syslog_message_has_the_form_of_rfc_5424() -> None:
    """Priority, version, time, host, application, process, message id and no structured data; then one line of JSON."""
    message = syslog_message(NOTES[4], datetime(2026, 11, 26, 1, 2, 3, 4, UTC), "host \u00e9\n1").decode("ascii")
    *head, body = message.split(" ", 7)
    assert head[:4] == ["<109>1", "2026-11-26T01:02:03.000004Z", "host1", "palimpsest"]
    assert head[5:] == ["checkpoint", "-"]
    told = json.loads(body)
    assert (told["size"], told["note"], list(told)[-1]) == (5, NOTES[4], "note")


def test_syslog_over_udp_sends_one_datagram(tmp_path: Path) -> None:
    """A collector on a real UDP port gets the whole note in one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.settimeout(10)
        collector.bind(("127.0.0.1", 0))
        open_destination(f"syslog+udp://127.0.0.1:{collector.getsockname()[1]}", tmp_path, {}).ship(NOTES[0])
        assert json.loads(collector.recv(65_535).split(b" ", 7)[7])["note"] == NOTES[0]


def _listen(serve: Callable[[socket.socket], None]) -> tuple[int, threading.Thread]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def one() -> None:
        with listener:
            serve(listener.accept()[0])

    thread = threading.Thread(target=one)
    thread.start()
    return listener.getsockname()[1], thread


def test_syslog_over_tcp_counts_octets(tmp_path: Path) -> None:
    """A collector on a real TCP port gets one frame of RFC 6587: length, space, message."""
    frames = list[bytes]()

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            frames.append(stream.read())

    port, thread = _listen(serve)
    open_destination(f"syslog+tcp://127.0.0.1:{port}", tmp_path, {}).ship(NOTES[0])
    thread.join(10)
    length, message = frames[0].split(b" ", 1)
    assert int(length) == len(message) and message.startswith(b"<109>1 ")


def test_a_collector_that_hangs_up_is_a_failure(tmp_path: Path) -> None:
    """A connection reset before the message was read, and nobody there at all, are reported as failures."""

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.recv(1)
        connection.close()

    port, thread = _listen(reset)
    with pytest.raises(ShippingFailed):
        open_destination(f"syslog+tcp://127.0.0.1:{port}", tmp_path, {}).ship(NOTES[0])
    thread.join(10)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ShippingFailed):
            open_destination(f"syslog+tcp://127.0.0.1:{unused.getsockname()[1]}", tmp_path, {}).ship(NOTES[0])


def _certificate(folder: Path) -> Path:
    """A certificate for localhost with its key, in one PEM file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = folder / "both.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*plain))
    return pem


def test_syslog_over_tls_trusts_only_who_is_certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector with a certificate that this machine trusts gets the message, any other one gets nothing."""
    pem, frames = _certificate(tmp_path), list[bytes]()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as channel:
                frames.append(channel.recv(65_535))
                channel.unwrap()
        except OSError:
            frames.append(b"")

    port, thread = _listen(serve)
    with pytest.raises(ShippingFailed, match="certificate"):
        open_destination(f"syslog+tls://localhost:{port}", tmp_path, {}).ship(NOTES[0])
    thread.join(10)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    port, thread = _listen(serve)
    open_destination(f"syslog+tls://localhost:{port}", tmp_path, {}).ship(NOTES[0])
    thread.join(10)
    assert frames[0] == b"" and b"<109>1 " in frames[1]


@pytest.mark.parametrize(
    "text",
    [
        "", "file:", "file://host/x", "http://h/x", "s3+https://h", "s3+https://h/b?x=1", "s3+ftp://h/b", "s3+https://u:p@h/b",
        "syslog+udp://", "syslog+smtp://h", "syslog+tcp://h/x", "syslog+tcp://h:99999", "rfc3161+https://", "rfc3161://h/x",
        "rfc3161+https://h/x?y", "s3+https://h/b?region=EU", "syslog+tcp://[::1", "s3+https://h/b#f",
    ],
)  # fmt: skip
def test_what_is_no_destination_is_named(tmp_path: Path, text: str) -> None:
    """A URL that names no place is refused at once, with the forms that do."""
    with pytest.raises(BadAddress):
        open_destination(text, tmp_path, SECRETS)


def test_a_destination_has_a_stable_name_without_secrets(tmp_path: Path) -> None:
    """Names are the URLs that were given, without options, and no credential is in them; without credentials no bucket."""
    for text in ("file:/x/y", "s3+https://h/b/p", "syslog+tls://h:6514", "syslog+udp://h:514", "rfc3161+https://h/t"):
        assert open_destination(text, tmp_path, SECRETS).name == text
        assert urlsplit(open_destination(text, tmp_path, SECRETS).name).username is None
    with pytest.raises(BadAddress, match="AWS_SECRET_ACCESS_KEY"):
        open_destination("s3+https://h/b", tmp_path, {"AWS_ACCESS_KEY_ID": "x"})
