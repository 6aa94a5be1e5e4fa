"""Synchronous API coupling: the caller waits, and the HTTP response carries the reply.

Every call has a total timeout; every provider has a retry budget and a circuit breaker.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from prebook.coupling.http_errors import OK, error_from_response
from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.flows import FLOWS
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Undeliverable, Unreachable
from prebook.messaging.policy import Policies
from prebook.patterns.breaker import Breaker
from prebook.patterns.budget import RetryBudget
from prebook.patterns.retry import exponential_backoff_s

MAX_ATTEMPTS = 3
"""Attempts at one call, the first included."""
SLOW_CALL_S = 1.5
"""Seconds after which a pending call counts as a failure of the circuit: the circuit to a hanging provider opens within
two seconds, before all callers have run into their timeouts."""
SLOW_CALL_TIMEOUT_SHARE = 0.75
"""Share of its timeout after which a pending call counts as a failure, if that is sooner than ``SLOW_CALL_S``."""


class SyncApi:
    """Channel of the ``sync_api`` coupling."""

    traits = CouplingTraits(replies_inline=True, needs_broker_up=False, uses_outbox=False)

    def __init__(
        self,
        http: HttpClient,
        policies: Policies,
        waiters: ReplyWaiters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``waiters``: open calls of this service as a provider; ``clock``: monotonic seconds."""
        self._http = http
        self._policies = policies
        self._waiters = waiters
        self._clock = clock
        self._breakers: dict[str, Breaker] = defaultdict(Breaker)
        self._probes: dict[str, asyncio.Event] = {}
        """Probe of each provider whose circuit is open, if one is running; set at its end."""
        self._budgets: dict[str, RetryBudget] = defaultdict(RetryBudget)

    def route(self, envelope: Envelope) -> str:
        """Return the route of the provider; only delayed requests are in the outbox at all."""
        return f"call:{FLOWS[envelope.flow].provider}"

    def addressed(self, request: Envelope) -> Envelope:
        """Return the request unchanged: the reply comes in the response."""
        return request

    async def send(self, envelope: Envelope) -> Envelope | None:
        """Call the provider and return its reply.

        Retries within the flow's ``timeout_s`` and the provider's retry budget. Raises Unreachable (no reply in time,
        overloaded, or the circuit is open) or Undeliverable.
        """
        provider = FLOWS[envelope.flow].provider
        self._budgets[provider] = self._budgets[provider].earned()
        deadline = self._clock() + self._policies[envelope.flow].timeout_s
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._call_once(provider, envelope, deadline)
            except Unreachable as failure:
                delay_s = failure.retry_after_s or random.uniform(0, exponential_backoff_s(attempt))
                if attempt == MAX_ATTEMPTS or not self._may_retry(provider, delay_s, deadline):
                    raise
                self._budgets[provider] = self._budgets[provider].spent()
                await asyncio.sleep(delay_s)
        raise AssertionError("the last attempt returns or raises")

    async def reply(self, reply: Envelope) -> None:
        """Hand a reply to the call of this process that waits for it."""
        self._waiters.resolve(reply)

    async def poll(self, request: Envelope) -> None:
        """Return None: the reply comes in the response."""

    def retry_after_s(self, provider: str) -> float | None:
        """Return the seconds until the circuit to ``provider`` lets a call pass; None if it does now."""
        return self._breakers[provider].wait_s(self._clock()) or None

    def _may_retry(self, provider: str, delay_s: float, deadline: float) -> bool:
        in_time = self._clock() + delay_s < deadline
        return in_time and self._budgets[provider].allows_retry and not self._breakers[provider].wait_s(self._clock())

    async def _call_once(self, provider: str, request: Envelope, deadline: float) -> Envelope:
        await self._wait_for_probe(provider, deadline)
        now = self._clock()
        if wait_s := self._breakers[provider].wait_s(now):
            raise Unreachable(f"the circuit to {provider} is open", reason="circuit_open", retry_after_s=wait_s)
        self._breakers[provider] = self._breakers[provider].tried(now)
        if self._breakers[provider].probing_since is None:
            return await self._exchange(provider, request, deadline - now)
        self._probes[provider] = probe = asyncio.Event()
        try:
            return await self._exchange(provider, request, deadline - now)
        finally:
            probe.set()

    async def _wait_for_probe(self, provider: str, deadline: float) -> None:
        """Wait while another call probes the provider; what it finds out holds for this call too.

        A request to several recipients would otherwise reach only the first of them after an outage.
        """
        probe = self._probes.get(provider)
        if probe and not probe.is_set():
            now = self._clock()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(self._breakers[provider].wait_s(now), deadline - now)):
                    await probe.wait()

    async def _exchange(self, provider: str, request: Envelope, timeout_s: float) -> Envelope:
        """Send the request, and record for the circuit whether the provider replied in time."""
        message = encode(request)
        loop = asyncio.get_running_loop()
        began = loop.time()
        slow_after_s = min(SLOW_CALL_S, SLOW_CALL_TIMEOUT_SHARE * timeout_s)
        slow_timer = loop.call_later(slow_after_s, self._record_failure, provider)
        reach(CrashPoint.BEFORE_CALL)
        try:
            response = await self._http.request(
                "POST",
                provider,
                f"/flows/{request.flow}",
                headers=message.headers,
                body=message.body,
                timeout_s=timeout_s,
            )
            reply = _decode_reply(provider, response)
        except Unreachable:
            if loop.time() - began < slow_after_s:  # a slow call has been recorded by its timer
                self._record_failure(provider)
            raise
        finally:
            slow_timer.cancel()
        self._breakers[provider] = self._breakers[provider].succeeded()
        reach(CrashPoint.AFTER_CALL)
        return reply

    def _record_failure(self, provider: str) -> None:
        self._breakers[provider] = self._breakers[provider].failed(self._clock())


def _decode_reply(provider: str, response: HttpResponse) -> Envelope:
    """Return the reply of a response. Raises Unreachable (a retry may succeed) or Undeliverable."""
    if response.status == OK:
        try:
            return decode(WireMessage(response.headers, response.body))
        except Malformed as error:
            raise Undeliverable(f"the reply of {provider} cannot be decoded: {error}") from error
    raise error_from_response(provider, response)
