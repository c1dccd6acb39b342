"""Against forged requests: every form carries a token that only a page of this gateway, shown to this session, can know.

The token is an HMAC under the session's own secret, which the cookie alone holds: nothing is stored, every process can check
it, and one session's token opens nothing in another. Before sign-in a random visit takes the session's place. What a browser
says about where a request began is checked as well.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Any, Final

from litestar import Request

from gateway.ui.forms import fields_of

FIELD: Final = "csrf"
HEADER: Final = "x-csrf-token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LABEL: Final = b"palimpsest/form/1"


def token(secret: str) -> str:
    """The token of forms shown to whoever holds this secret in a cookie."""
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), _LABEL, "sha256").hex()


async def genuine(request: Request[Any, Any, Any], held: Collection[str]) -> bool:
    """Whether an unsafe request comes from a form that was shown to the holder of one of these secrets.

    The form of whoever holds none is not read.
    """
    if not held or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    given = request.headers.get(HEADER)
    if given is None:
        given = (await fields_of(request)).one.get(FIELD, "")
    said = given.encode("utf-8", "surrogatepass")
    return any(hmac.compare_digest(said, token(secret).encode()) for secret in held)
