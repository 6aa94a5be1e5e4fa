"""Calls of the console to the internal endpoints of services."""

import time
from collections.abc import Mapping, Sequence

from prebook.flows import CONSOLE
from prebook.patterns.call_signature import CallSigner

NO_HEADERS: Mapping[str, str] = {}


class ConsoleSigner:
    """Signs requests in the name of the console. ``secrets``: its active secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._signer = CallSigner(CONSOLE, secrets)

    def sign(
        self, service: str, target: str, method: str = "GET", headers: Mapping[str, str] = NO_HEADERS, body: bytes = b""
    ) -> dict[str, str]:
        """Return the headers to add to a request to ``service``. ``target``: path and query as they are sent."""
        return self._signer.sign(service, method, target, headers, body, now_s=time.time())
