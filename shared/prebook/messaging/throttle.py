"""Throttle: limits the rate at which a consumer starts requests of a flow; the backlog stays in the queue.

A waiting message is unacknowledged, so the prefetch bounds how many wait. An expired message does not wait, because the
endpoint drops it. Each replica has the full rate.

Source: Apache Camel, Throttler.
"""

import asyncio
import time

from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.policy import Policies
from prebook.patterns.bucket import TokenBucket


def throttled(handler: MessageHandler, policies: Policies) -> MessageHandler:
    """The handler, with requests of a flow that has a ``rate_per_s`` let through one by one at that rate."""
    limits = {name: policy.rate_per_s for name, policy in policies.items() if policy.rate_per_s}
    buckets = {name: TokenBucket.full(per_s=rate, burst=1.0, now=time.monotonic()) for name, rate in limits.items()}

    async def at_its_turn(envelope: Envelope) -> None:
        if envelope.kind is MessageKind.REQUEST and envelope.flow in buckets and not envelope.is_expired(utc_now()):
            now = time.monotonic()
            wait_s = buckets[envelope.flow].wait_s(now)
            # The token is taken before the wait, so that the next request waits behind this one.
            buckets[envelope.flow] = buckets[envelope.flow].taken(now)
            await asyncio.sleep(wait_s)
        await handler(envelope)

    return at_its_turn if buckets else handler
