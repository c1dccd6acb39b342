"""The witness on a socket: `POST <prefix>/add-checkpoint` over plain HTTP, for a TLS proxy or a private network."""

from __future__ import annotations

import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Timer
from typing import Any

from audit.outbound import hang_up
from audit.witness import MAX_REQUEST_BYTES, Reply, Witness

SECONDS_IDLE = 10.0
SECONDS_MOST = 60.0
MAX_CONNECTIONS = 32


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness; at most MAX_CONNECTIONS at a time, the rest are turned away at the door."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        """Bind to (host, port); port 0 takes a free one, which `server_port` then names."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.witness = witness
        self._free = BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Door)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to a thread, or close it when all are busy."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end, which comes after SECONDS_MOST however slowly the other side sends."""
        end = Timer(SECONDS_MOST, hang_up, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the client's affair; a broken state shows as status 500 and in no other way."""


class _Door(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    timeout = SECONDS_IDLE
    disable_nagle_algorithm = True
    """Else the body of an answer would wait until a client that keeps its connection acknowledges the headers: 40 ms."""

    def do_POST(self) -> None:
        """Answer add-checkpoint under any prefix."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > 9 or int(length) > MAX_REQUEST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif not self.path.endswith("/add-checkpoint"):
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._answer(int(length))

    def _answer(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        try:
            reply = self.server.witness.add_checkpoint(body)
        except Exception as error:  # noqa: BLE001 - nothing was cosigned; the operator reads why, the client does not
            self.log_error("%s", error)
            reply = Reply(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot answer\n")
        self._send(reply)

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(Reply(status, f"{status.phrase}\n"))

    def _send(self, reply: Reply) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """The Server header says what this is and no version of anything."""
        return "witness"
