"""Messages that cannot be handled, among those that can."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from prebook.contracts.dead_letters import ParkedLine
from prebook.flows import NOTIFY_RIDER
from prebook.lab.faults import parked_messages
from prebook.lab.faults.broker_channel import Address, addresses, alone, opened
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.messages import POISONS, Poison, poisoned
from prebook.lab.faults.model import Fault, NoEffect

PARKED_WITHIN_S = 60.0
"""Longer than all pauses between the attempts at the one that is tried."""


async def poison(_: Fault, for_s: float, levers: Levers) -> str:
    """Over when each is parked, and no sooner than its time; they are discarded then, which can be taken back."""
    target = _target(await addresses(levers))
    run = uuid4().hex[:8]
    ids = {f"poison-{run}-{each.cause}": each for each in POISONS}
    async with opened(levers) as channel:
        exchange = await channel.get_exchange(target.exchange, ensure=False)
        for message_id, each in ids.items():
            await exchange.publish(poisoned(each, message_id), target.key)
    lines, _pause = await asyncio.gather(
        parked_messages.parked(levers, ids.keys(), for_s + PARKED_WITHIN_S), asyncio.sleep(for_s)
    )
    await parked_messages.discard(levers, lines)
    return told(lines, tuple(ids.values()))


def told(lines: Sequence[ParkedLine], sent: Sequence[Poison]) -> str:
    """Raises NoEffect where one was parked for something else, or tried otherwise than it should be. Pure."""
    for line, each in zip(lines, sent, strict=True):
        if line.cause != each.cause or (line.attempts > 1) != each.retried:
            raise NoEffect(
                f"what should be parked with {each.cause} was parked with {line.cause} after {line.attempts} attempts"
            )
    return "parked: " + ", ".join(f"{line.cause} after {line.attempts} attempts" for line in lines)


def _target(found: Sequence[Address]) -> Address:
    for each in alone(found):
        if each.key == NOTIFY_RIDER.name:
            return each
    raise NoEffect(f"the broker has no queue for {NOTIFY_RIDER.name}")
