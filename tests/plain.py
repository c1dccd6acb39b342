"""For clients that ask over plain HTTP alone.

Each would else read all the certificates of the system, forty milliseconds of it, to never use them.
"""

import ssl
from typing import Final

import openai

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: with it, no server that speaks TLS can be asked."""


class Asking(openai.DefaultHttpxClient):
    """What OpenAI's client asks through; it is closed when nobody has it any more, as the one that client makes for itself."""

    def __init__(self) -> None:
        super().__init__(verify=PLAIN)

    def __del__(self) -> None:
        """Leave no socket open."""
        if not self.is_closed:
            self.close()
