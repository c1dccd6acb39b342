"""A client's connection whose request heads come to an end: what reads them for us takes one of any length and keeps it."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MOST: Final = 256 * 1024
"""Bytes that may come before a head has ended. What comes with its end is not counted, for there a body may have begun."""


class Connection(HttpToolsProtocol):
    """Reads requests in C. A head that does not end gets a 400 and loses the connection."""

    _open = False
    _came = 0

    def data_received(self, data: bytes) -> None:
        """Bytes of the client's."""
        super().data_received(data)
        if self._open:
            self._came += len(data)
            if self._came > HEAD_MOST:
                self._open = False
                self.send_400_response("The head of this request is too long.")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._open, self._came = True, 0

    def on_headers_complete(self) -> None:
        """It has ended; a body follows, if any."""
        self._open = False
        super().on_headers_complete()
