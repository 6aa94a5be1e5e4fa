"""Call and wait: the answer is the response. With a total timeout, a retry budget and a circuit breaker."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable

from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.flows import FLOWS
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Undeliverable, Unreachable
from prebook.messaging.policy import Policies
from prebook.patterns.breaker import Breaker
from prebook.patterns.budget import RetryBudget
from prebook.patterns.retry import exponential_backoff_s

MAX_ATTEMPTS = 3
OK, TOO_MANY_REQUESTS, MIN_SERVER_ERROR = 200, 429, 500
SLOW_S, SLOW_SHARE = 1.5, 0.75
"""A call that takes so long, or this share of its time, is a failure to the circuit before it is one to its caller: it
opens within two seconds, and a provider that hangs gets no further calls while the first still wait for it."""


class SyncApi:
    traits = CouplingTraits(replies_inline=True, needs_provider_up=True, needs_broker_up=False, uses_outbox=False)

    def __init__(
        self,
        http: HttpClient,
        policies: Policies,
        waiters: ReplyWaiters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http, self._policies, self._waiters, self._clock = http, policies, waiters, clock
        self._breakers: dict[str, Breaker] = defaultdict(Breaker)
        self._budgets: dict[str, RetryBudget] = defaultdict(RetryBudget)

    def route(self, envelope: Envelope) -> str:
        """Only a call that is to be made later waits in the outbox."""
        return f"call:{FLOWS[envelope.flow].provider}"

    def addressed(self, request: Envelope) -> Envelope:
        return request

    async def send(self, envelope: Envelope) -> Envelope | None:
        provider, patience = FLOWS[envelope.flow].provider, self._policies[envelope.flow].timeout_s
        self._budgets[provider] = self._budgets[provider].earned()
        ends = self._clock() + patience
        for tries in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._call_once(provider, envelope, ends - self._clock())
            except Unreachable as failure:
                pause = failure.retry_after_s or random.uniform(0, exponential_backoff_s(tries))
                if tries == MAX_ATTEMPTS or not self._may_retry(provider, pause, ends):
                    raise
                self._budgets[provider] = self._budgets[provider].spent()
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def reply(self, reply: Envelope) -> None:
        self._waiters.resolve(reply)

    def retry_after_s(self, provider: str) -> float | None:
        return self._breakers[provider].wait_s(self._clock()) or None

    def _may_retry(self, provider: str, pause: float, ends: float) -> bool:
        in_time = self._clock() + pause < ends
        return in_time and self._budgets[provider].allows_retry and not self._breakers[provider].wait_s(self._clock())

    async def _call_once(self, provider: str, request: Envelope, timeout_s: float) -> Envelope:
        wait = self._breakers[provider].wait_s(self._clock())
        if wait:
            raise Unreachable(f"the circuit to {provider} is open", reason="circuit_open", retry_after_s=wait)
        self._breakers[provider] = self._breakers[provider].tried(self._clock())
        wire, loop = encode(request), asyncio.get_running_loop()
        slow_after_s = min(SLOW_S, SLOW_SHARE * timeout_s)
        slow, began = loop.call_later(slow_after_s, self._record_failure, provider), loop.time()
        try:
            response = await self._http.request(
                "POST", provider, f"/flows/{request.flow}", headers=wire.headers, body=wire.body, timeout_s=timeout_s
            )
            answer = _decode_reply(provider, response)
        except Unreachable:
            if loop.time() - began < slow_after_s:
                self._record_failure(provider)
            raise
        finally:
            slow.cancel()
        self._breakers[provider] = self._breakers[provider].succeeded()
        return answer

    def _record_failure(self, provider: str) -> None:
        self._breakers[provider] = self._breakers[provider].failed(self._clock())


def _decode_reply(provider: str, response: HttpResponse) -> Envelope:
    """Raises Unreachable for what may pass by itself, Undeliverable for what will not."""
    if response.status == OK:
        try:
            return decode(WireMessage(response.headers, response.body))
        except Malformed as error:
            raise Undeliverable(f"{provider} answered what we cannot read: {error}") from error
    raise error_from_response(provider, response)


def error_from_response(provider: str, response: HttpResponse) -> Unreachable | Undeliverable:
    """A response that is no answer, as the port's own exception."""
    text = f"{provider} answered {response.status}"
    if response.status == TOO_MANY_REQUESTS or response.status >= MIN_SERVER_ERROR:
        after = response.headers.get("retry-after", "")
        return Unreachable(text, reason="refused", retry_after_s=float(after) if after.isdigit() else None)
    return Undeliverable(f"{text}: {response.body[:200].decode(errors='replace')}")
