"""HTTP client that signs every call in the name of one caller."""

from collections.abc import Callable, Mapping, Sequence

from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.messaging.clock import unix_s
from prebook.patterns.call_signature import CallSigner


class SignedHttpClient(HttpClient):
    """Signs calls and sends them by another client."""

    def __init__(
        self, http: HttpClient, caller: str, secrets: Sequence[str], *, clock: Callable[[], float] = unix_s
    ) -> None:
        """``secrets``: active secrets of the caller; ``clock``: Unix time in seconds."""
        self._http = http
        self._signer = CallSigner(caller, secrets)
        self._clock = clock

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        """Send a signed request. ``path`` may have a query. Raises Unreachable, Undeliverable."""
        signature = self._signer.sign(service, method, path, headers, body, now_s=self._clock())
        return await self._http.request(
            method, service, path, headers={**headers, **signature}, body=body, timeout_s=timeout_s
        )
