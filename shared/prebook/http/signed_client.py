"""HTTP clients that sign every call in the name of one caller."""

from collections.abc import Callable, Generator, Mapping, Sequence

import httpx

from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.http.client import sent_target
from prebook.messaging.clock import unix_s
from prebook.patterns.call_signature import CallSigner


class SignedHttpClient(HttpClient):
    """Signs calls and sends them by another client."""

    def __init__(
        self,
        http: HttpClient,
        caller: str,
        secrets: Callable[[], Sequence[str]],
        *,
        clock: Callable[[], float] = unix_s,
    ) -> None:
        """``secrets`` returns the active secrets of the caller; ``clock``: Unix time in seconds."""
        self._http = http
        self._caller = caller
        self._active_secrets = secrets
        self._secrets = secrets()
        self._signer = CallSigner(caller, self._secrets)
        self._clock = clock

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        """Send a signed request. ``path`` may have a query. Raises Unreachable, Undeliverable."""
        if (secrets := self._active_secrets()) is not self._secrets:
            self._secrets = secrets
            self._signer = CallSigner(self._caller, secrets)
        signature = self._signer.sign(service, method, sent_target(path), headers, body, now_s=self._clock())
        return await self._http.request(
            method, service, path, headers={**headers, **signature}, body=body, timeout_s=timeout_s
        )


class CallAuth(httpx.Auth):
    """Signs the requests of an httpx client to one service."""

    requires_request_body = True

    def __init__(
        self, caller: str, secrets: Sequence[str], receiver: str, *, clock: Callable[[], float] = unix_s
    ) -> None:
        """``secrets``: active secrets of the caller; ``clock``: Unix time in seconds."""
        self._signer = CallSigner(caller, secrets)
        self._receiver = receiver
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature; called by httpx. HEAD is signed as the GET that a service handles it as."""
        method = "GET" if request.method == "HEAD" else request.method
        target = sent_target(request.url.raw_path.decode())
        headers = dict(request.headers)
        signature = self._signer.sign(self._receiver, method, target, headers, request.content, now_s=self._clock())
        request.headers.update(signature)
        yield request
