"""For clients that ask over plain HTTP alone.

Each would else read all the certificates of the system, forty milliseconds of it, to never use them.
"""

import ssl
from typing import Final

import openai

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: with it, no server that speaks TLS can be asked."""


class Asking(openai.DefaultHttpxClient):
    """What OpenAI's client asks through: a connection a request, so that a client that nobody closes leaves no socket open."""

    def __init__(self) -> None:
        super().__init__(verify=PLAIN, headers={"connection": "close"})
