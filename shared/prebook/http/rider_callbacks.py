"""Signed callbacks to riders' systems: only to allowed hosts, and only to addresses checked when connecting.

Source: OWASP, "Server-Side Request Forgery Prevention"; Standard Webhooks for the signature.
"""

from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from prebook.http.callback_targets import is_allowed_target
from prebook.http.client import create_http_client, limit_exchange
from prebook.http.public_addresses import is_public_address
from prebook.messaging.clock import unix_s
from prebook.messaging.errors import PermanentFailure, Unreachable
from prebook.patterns.signature import sign

CALLBACK_TIMEOUT_S = 2.0
"""Seconds for one callback."""
MIN_SUCCESS_STATUS = 200
MAX_SUCCESS_STATUS = 299
GONE_STATUS = 410


class ForbiddenTarget(PermanentFailure):
    """The target may not be called: its host is not allowed, or it resolves to an address that is not public."""

    cause = "forbidden_target"


class TargetGone(PermanentFailure):
    """The target has replied 410: it wants no more callbacks."""

    cause = "target_gone"


class CallbackFailed(Exception):
    """One attempt at a callback has failed. A rider's system that is down is not an outage of the service."""


def require_public_address(host: str, address: str) -> None:
    """Raise ForbiddenTarget if an address of ``host`` is not public."""
    if not is_public_address(address):
        raise ForbiddenTarget(f"{host} resolves to an address that is not public")


class RiderCallbacks:
    """Sends callbacks. A callback is one signed POST; the caller repeats it until it succeeds."""

    def __init__(
        self, allowed_hosts: Collection[str], secrets: Sequence[str], *, clock: Callable[[], float] = unix_s
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._secrets = secrets
        self._clock = clock

    async def send(self, url: str, message_id: str, body: bytes) -> None:
        """Post ``body`` to ``url``. Raises ForbiddenTarget, TargetGone (both permanent) or CallbackFailed (retry)."""
        if not is_allowed_target(url, self._allowed_hosts):
            raise ForbiddenTarget(f"callbacks may not go to {urlsplit(url).hostname}; see PREBOOK_RIDER_CALLBACK_HOSTS")
        headers = {"content-type": "application/json", **sign(self._secrets, message_id, int(self._clock()), body)}
        try:
            status = await self._post(url, headers, body)
        except Unreachable as error:
            raise CallbackFailed(str(error)) from error
        if status == GONE_STATUS:
            raise TargetGone("the target is gone (410)")
        if not MIN_SUCCESS_STATUS <= status <= MAX_SUCCESS_STATUS:
            raise CallbackFailed(f"the target replied with status {status}")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """Return the status of the response; its body is not read. Redirects are not followed, proxies are not used."""
        # Plain http is allowed only to hosts that are listed with it, such as the machine of a demo.
        check = require_public_address if url.startswith("https://") else None
        async with (
            limit_exchange("the target", CALLBACK_TIMEOUT_S),
            create_http_client(check_address=check) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            return response.status_code
