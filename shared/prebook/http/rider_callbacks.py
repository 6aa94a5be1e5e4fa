"""Signed callbacks to riders' systems: only to allowed hosts, and only to addresses checked when connecting.

Source: OWASP, "Server-Side Request Forgery Prevention"; Standard Webhooks for the signature.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from prebook.coupling.http_errors import parse_retry_after
from prebook.http.callback_targets import is_allowed_target, origin_of
from prebook.http.client import create_http_client, limit_exchange
from prebook.http.public_addresses import is_public_address
from prebook.messaging.clock import unix_s, utc_now
from prebook.messaging.errors import PermanentFailure, ReceiverUnavailable, Unreachable
from prebook.patterns.retry import MAX_EXTERNAL_BACKOFF_S
from prebook.patterns.signature import sign

CALLBACK_TIMEOUT_S = 15.0
"""Seconds for one callback, the answer included."""
MAX_CONCURRENT_CALLS = 8
"""Callbacks of this process that one receiver may take at a time, so that a slow one keeps no other waiting."""
BUSY_RETRY_S = CALLBACK_TIMEOUT_S
"""Seconds until a callback is tried again that found its receiver busy."""
MIN_SUCCESS_STATUS = 200
MAX_SUCCESS_STATUS = 299
GONE_STATUS = 410


class ForbiddenTarget(PermanentFailure):
    """The target may not be called: its host is not allowed, or it resolves to an address that is not public."""

    cause = "forbidden_target"


class TargetGone(PermanentFailure):
    """The target has replied 410: it wants no more callbacks."""

    cause = "target_gone"


class CallbackFailed(ReceiverUnavailable):
    """A callback was not taken, or its receiver was spared. A rider's system that is down is no outage of a service."""


class RiderSystem:
    """A rider's system: the calls under way, and when it may be called again, in monotonic seconds."""

    def __init__(self) -> None:
        self.calls = 0
        self.resumes_at = -math.inf

    def check_available(self, now: float) -> None:
        """Raise CallbackFailed, with the time to wait, if the receiver must not be called now."""
        if now < self.resumes_at:
            raise CallbackFailed(
                "the target has asked for a pause", retry_after_s=self.resumes_at - now, was_called=False
            )
        if self.calls >= MAX_CONCURRENT_CALLS:
            raise CallbackFailed(
                f"the target has not answered {self.calls} callbacks yet", retry_after_s=BUSY_RETRY_S, was_called=False
            )


def require_public_address(host: str, address: str) -> None:
    """Raise ForbiddenTarget if an address of ``host`` is not public."""
    if not is_public_address(address):
        raise ForbiddenTarget(f"{host} resolves to an address that is not public")


def _host_of(url: str) -> str:
    """Return the host of a URL, for an error: the rest of the URL may hold a rider's data."""
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no URL"


class RiderCallbacks:
    """Sends callbacks. A callback is one signed POST; the caller repeats it until it succeeds.

    A receiver that is slow, fails or asks for a pause affects no other (Release It!, Bulkheads).
    """

    def __init__(
        self,
        allowed_hosts: Collection[str],
        secrets: Callable[[], Sequence[str]],
        *,
        clock: Callable[[], float] = unix_s,
    ) -> None:
        """``secrets`` returns the active secrets, each of which signs; ``clock``: Unix time in seconds."""
        self._allowed_hosts = allowed_hosts
        self._secrets = secrets
        self._clock = clock
        self._receivers: dict[tuple[str, str, str], RiderSystem] = defaultdict(
            RiderSystem
        )  # as many as there are allowed hosts

    async def send(self, url: str, message_id: str, body: bytes) -> None:
        """Post ``body`` to ``url``, unless its receiver asked for a pause or is busy.

        Raises ForbiddenTarget, TargetGone (both permanent) or CallbackFailed (retry).
        """
        if not is_allowed_target(url, self._allowed_hosts):
            raise ForbiddenTarget(f"callbacks may not go to {_host_of(url)}; see PREBOOK_RIDER_CALLBACK_HOSTS")
        headers = {"content-type": "application/json", **sign(self._secrets(), message_id, int(self._clock()), body)}
        receiver = self._receivers[origin_of(url)]
        receiver.check_available(time.monotonic())
        receiver.calls += 1
        try:
            status, retry_after = await self._post(url, headers, body)
        except Unreachable as error:
            raise CallbackFailed(str(error)) from error
        finally:
            receiver.calls -= 1
        if status == GONE_STATUS:
            raise TargetGone("the target is gone (410)")
        if not MIN_SUCCESS_STATUS <= status <= MAX_SUCCESS_STATUS:
            retry_after_s = parse_retry_after(retry_after, utc_now(), MAX_EXTERNAL_BACKOFF_S)
            receiver.resumes_at = max(receiver.resumes_at, time.monotonic() + (retry_after_s or 0.0))
            raise CallbackFailed(f"the target replied with status {status}", retry_after_s=retry_after_s)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """Return status and ``Retry-After`` of the response; its body is not read.

        Redirects are not followed, proxies are not used.
        """
        # Plain http is allowed only to hosts that are listed with it, such as the machine of a demo.
        check = require_public_address if url.startswith("https://") else None
        async with (
            limit_exchange("the target", CALLBACK_TIMEOUT_S),
            create_http_client(check_address=check) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            return response.status_code, response.headers.get("retry-after", "")
