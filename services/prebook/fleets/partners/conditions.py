"""Conditions of the simulated partners: each one can be made slow, dead or garbled for a time."""

import asyncio
import time
from collections.abc import Callable

from prebook.contracts.partners import PartnerCondition
from prebook.fleets.partners.simulation import PartnerCall
from prebook.patterns.normalizer import ForeignMessage

SLOW_S = 1.0
"""Delay of a slow partner in seconds; below the default PREBOOK_PARTNER_TIMEOUT_S, so its reply still counts."""
GARBAGE = b"\xff"
"""First byte of garbled replies: no wire format allows it."""


class PartnerConditions:
    """Condition of each partner; a partner without an imposed condition, or after its time, is healthy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._imposed: dict[str, tuple[PartnerCondition, float]] = {}

    def impose(self, partner: str, condition: PartnerCondition, duration_s: float) -> None:
        """Put a partner into a condition for ``duration_s`` seconds; it replaces an earlier one."""
        self._imposed[partner] = condition, self._clock() + duration_s

    def of(self, partner: str) -> PartnerCondition:
        """Return the present condition of a partner."""
        condition, until = self._imposed.get(partner, (PartnerCondition.HEALTHY, 0.0))
        return condition if self._clock() < until else PartnerCondition.HEALTHY

    def apply(self, partner: str, call: PartnerCall) -> PartnerCall:
        """Return the call of a partner in its condition at the time of the request."""

        async def call_in_condition(request: bytes) -> ForeignMessage:
            condition = self.of(partner)
            if condition is PartnerCondition.DEAD:
                await asyncio.Event().wait()
            if condition is PartnerCondition.SLOW:
                await asyncio.sleep(SLOW_S)
            reply = await call(request)
            is_garbled = condition is PartnerCondition.GARBLED
            return ForeignMessage(reply.media_type, GARBAGE + reply.body) if is_garbled else reply

        return call_in_condition


CONDITIONS = PartnerConditions()
"""Conditions of the partners in this process: one process runs one service."""
