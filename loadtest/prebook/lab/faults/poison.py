"""Messages that cannot be handled, among those that can."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.flows import NOTIFY_RIDER
from prebook.lab.faults import parked_messages
from prebook.lab.faults.broker_channel import QueueBinding, open_admin_channel, read_bindings, unshared_bindings
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.messages import POISONS, PoisonSpec, poison_message
from prebook.lab.faults.model import Fault, NoEffect

PARKING_TIMEOUT_S = 60.0
"""Longer than all pauses between the attempts at the one that is tried."""


async def publish_poison(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Over when each is parked, and no sooner than its time; they are discarded then, which can be taken back."""
    target = _notification_binding(await read_bindings(fault_access))
    run = uuid4().hex[:8]
    ids = {f"poison-{run}-{each.cause}": each for each in POISONS}
    async with open_admin_channel(fault_access) as channel:
        exchange = await channel.get_exchange(target.exchange, ensure=False)
        for message_id, each in ids.items():
            await exchange.publish(poison_message(each, message_id), target.routing_key)
    lines, _pause = await asyncio.gather(
        parked_messages.wait_until_parked(fault_access, ids.keys(), duration_s + PARKING_TIMEOUT_S),
        asyncio.sleep(duration_s),
    )
    await parked_messages.discard(fault_access, lines)
    return evidence_text(lines, tuple(ids.values()))


def evidence_text(lines: Sequence[DeadLetterSummary], sent: Sequence[PoisonSpec]) -> str:
    """Raises NoEffect where one was parked for something else, or tried otherwise than it should be. Pure."""
    for line, each in zip(lines, sent, strict=True):
        if line.cause != each.cause or (line.attempts > 1) != each.retried:
            raise NoEffect(
                f"what should be parked with {each.cause} was parked with {line.cause} after {line.attempts} attempts"
            )
    return "parked: " + ", ".join(f"{line.cause} after {line.attempts} attempts" for line in lines)


def _notification_binding(bindings: Sequence[QueueBinding]) -> QueueBinding:
    for each in unshared_bindings(bindings):
        if each.routing_key == NOTIFY_RIDER.name:
            return each
    raise NoEffect(f"the broker has no queue for {NOTIFY_RIDER.name}")
