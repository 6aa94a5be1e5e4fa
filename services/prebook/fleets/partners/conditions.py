"""Conditions of the simulated partners: each one can be made slow, dead, garbled or upgraded for a time."""

import asyncio
import re
import time
from collections.abc import Callable

from prebook.contracts.partners import PartnerCondition
from prebook.fleets.partners.simulation import PartnerCall
from prebook.patterns.normalizer import ForeignMessage

SLOW_S = 1.0
"""Delay of a slow partner in seconds; below the default PREBOOK_PARTNER_TIMEOUT_S, so its reply still counts."""
GARBAGE = b"\xff"
"""First byte of garbled replies: no wire format allows it."""
VERSION = re.compile(r"\.v\d+")
NEWER_VERSION = ".v99"
"""Version of the format of an upgraded partner's replies, in their media type."""


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
            return change_reply(condition, reply)

        return call_in_condition


def change_reply(condition: PartnerCondition, reply: ForeignMessage) -> ForeignMessage:
    """Return the reply of a partner in this condition. ``reply``: that of a healthy one."""
    match condition:
        case PartnerCondition.GARBLED:
            return ForeignMessage(reply.media_type, GARBAGE + reply.body)
        case PartnerCondition.UPGRADED:
            return ForeignMessage(VERSION.sub(NEWER_VERSION, reply.media_type), reply.body)
        case PartnerCondition.HEALTHY | PartnerCondition.SLOW | PartnerCondition.DEAD:
            return reply


CONDITIONS = PartnerConditions()
"""Conditions of the partners in this process: one process runs one service."""
