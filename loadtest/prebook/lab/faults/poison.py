"""Poison fault: publish messages that cannot be handled among regular ones."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from aio_pika import Message

from prebook.contracts.dead_letters import DeadLetterSummary
from prebook.flows import NOTIFY_RIDER
from prebook.lab.faults import parked_messages
from prebook.lab.faults.broker_channel import QueueBinding, open_admin_channel, read_bindings, unshared_bindings
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.messages import POISONS, PoisonSpec, poison_message
from prebook.lab.faults.model import Fault, NoEffect

PARKING_TIMEOUT_S = 60.0
"""Longer than the sum of all retry delays of the poison message that is retried."""


async def publish_poison(_: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Publish every kind of poison; return once all are parked and ``duration_s`` seconds have passed.

    The dead letters are discarded; an operator can restore them. Returns the evidence: cause and attempts of each.
    Raises NoEffect if one is not parked, or for another cause.
    """
    run = uuid4().hex[:8]
    messages = [poison_message(poison, f"poison-{run}-{poison.cause}") for poison in POISONS]
    await publish_to_notification(fault_access, messages)
    dead_letters, _slept = await asyncio.gather(
        parked_messages.wait_until_parked(
            fault_access, [str(message.message_id) for message in messages], duration_s + PARKING_TIMEOUT_S
        ),
        asyncio.sleep(duration_s),
    )
    await parked_messages.discard(fault_access, dead_letters)
    return evidence_text(dead_letters, POISONS)


async def publish_to_notification(fault_access: FaultAccess, messages: Sequence[Message]) -> None:
    """Publish ``messages`` to the queue of notification's requests. Raises NoEffect if there is no such queue."""
    target = _notification_binding(await read_bindings(fault_access))
    async with open_admin_channel(fault_access) as channel:
        exchange = await channel.get_exchange(target.exchange, ensure=False)
        for message in messages:
            await exchange.publish(message, target.routing_key)


def evidence_text(dead_letters: Sequence[DeadLetterSummary], published: Sequence[PoisonSpec]) -> str:
    """Return causes and attempts of the dead letters.

    Raises:
        NoEffect: a dead letter has another cause than the poison, or retries differ from ``PoisonSpec.retried``.
    """
    for dead_letter, poison in zip(dead_letters, published, strict=True):
        if dead_letter.cause != poison.cause or (dead_letter.attempts > 1) != poison.retried:
            raise NoEffect(
                f"the {poison.cause} message was dead-lettered as {dead_letter.cause} "
                f"after {dead_letter.attempts} attempts"
            )
    return "dead-lettered: " + ", ".join(f"{each.cause} after {each.attempts} attempts" for each in dead_letters)


def _notification_binding(bindings: Sequence[QueueBinding]) -> QueueBinding:
    for binding in unshared_bindings(bindings):
        if binding.routing_key == NOTIFY_RIDER.name:
            return binding
    raise NoEffect(f"the broker has no queue for {NOTIFY_RIDER.name}")
