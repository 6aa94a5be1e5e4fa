"""Calls of the console to the internal endpoints of services."""

import time
from collections.abc import Sequence

from prebook.flows import CONSOLE
from prebook.patterns.call_signature import CallSigner


class ConsoleSigner:
    """Signs GET requests in the name of the console. ``secrets``: its active secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._signer = CallSigner(CONSOLE, secrets)

    def sign(self, service: str, target: str) -> dict[str, str]:
        """Return the headers of a request to ``service``. ``target``: path and query as they are sent."""
        return self._signer.sign(service, "GET", target, {}, b"", now_s=time.time())
