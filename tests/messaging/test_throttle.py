"""Throttle: requests of a flow are handled at its rate."""

import asyncio
from datetime import timedelta

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.throttle import throttled
from tests.messaging.examples import NOW, request


def policies(rate_per_s: float | None) -> dict[str, FlowPolicy]:
    return {flow: FlowPolicy(coupling=Coupling.ONE_WAY, rate_per_s=rate_per_s) for flow in FLOWS}


def recorder(handled: list[tuple[str, float]]) -> MessageHandler:
    """Record message id and loop time of each call."""

    async def record(envelope: Envelope) -> None:
        handled.append((envelope.id, asyncio.get_running_loop().time()))

    return record


async def test_concurrent_requests_are_handled_at_the_rate_in_order() -> None:
    handled: list[tuple[str, float]] = []
    handler = throttled(recorder(handled), policies(rate_per_s=50.0))
    await asyncio.gather(*(handler(request(id=f"m{n}")) for n in range(11)))

    assert [name for name, _ in handled] == [f"m{n}" for n in range(11)]
    assert handled[-1][1] - handled[0][1] >= 10 / 50 - 0.01, "eleven requests have ten intervals"


async def test_replies_and_expired_requests_are_not_throttled() -> None:
    handled: list[tuple[str, float]] = []
    handler = throttled(recorder(handled), policies(rate_per_s=0.001))
    unexpired = request(id="m0", expires_at=utc_now() + timedelta(hours=1))
    async with asyncio.timeout(2):
        await handler(unexpired)
        await handler(request(id="m1", expires_at=NOW - timedelta(days=1)))
        await handler(unexpired.reply_with(unexpired.body, source="notification", at=NOW))

    assert [name for name, _ in handled] == ["m0", "m1", "m0.reply"]


async def test_without_a_rate_the_handler_is_unchanged() -> None:
    handler = recorder([])

    assert throttled(handler, policies(rate_per_s=None)) is handler
