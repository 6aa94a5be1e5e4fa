"""A service's queues are full: it does not take from them, and they are let hold next to nothing."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError

from prebook.flows import CATALOGUE
from prebook.lab.faults.broker_channel import Address, addresses, opened
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.messages import filler
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.faults.processes import stopped

POLICY = "loadtest-queue-full"
HOLDS = 1
PROBE_EVERY_S = 0.25
MOST_FILLERS = 400
"""Whoever takes them in hand without working on them takes no more than its prefetch."""


@dataclass
class Publishes:
    """What the broker said to ours."""

    said: Counter[str] = field(default_factory=Counter)

    async def offer(self, channel: AbstractChannel, to: Address) -> str:
        """Straight into the queue: the archive of all events need not hear of it."""
        try:
            await channel.default_exchange.publish(filler(to.key), to.queue)
            word = "confirmed"
        except DeliveryError:
            word = "refused"
        self.said[word] += 1
        return word


async def queue_full(fault: Fault, for_s: float, levers: Levers) -> str:
    """An operator's policy is merged with the queue's own, which stays as it is."""
    targets = of_requests(fault.target, await addresses(levers))
    if not targets:
        raise NoEffect(f"the broker has no queue that {fault.target} takes requests from")
    async with opened(levers) as channel, stopped(levers.control(fault.target), fault.target):
        try:
            await limit(levers, targets)
            refused = await _held_full(channel, targets, for_s)
        finally:
            await levers.broker.delete("operator-policies", levers.vhost, POLICY)
    return f"{refused} of our publishes to {', '.join(each.queue for each in targets)} refused by the broker"


async def _held_full(channel: AbstractChannel, targets: Sequence[Address], for_s: float) -> int:
    clock, probes = asyncio.get_running_loop().time, Publishes()
    over = clock() + for_s
    for target in targets:
        await _fill(channel, target)
    while clock() < over:
        await probes.offer(channel, targets[probes.said.total() % len(targets)])
        await asyncio.sleep(PROBE_EVERY_S)
    if probes.said["refused"] <= probes.said["confirmed"]:
        raise NoEffect(f"the queues were not full: what the broker said to our publishes was {dict(probes.said)}")
    return probes.said["refused"]


async def _fill(channel: AbstractChannel, target: Address) -> None:
    filling = Publishes()
    while await filling.offer(channel, target) != "refused":
        if filling.said.total() > MOST_FILLERS:
            raise NoEffect(f"{target.queue} took {MOST_FILLERS} messages although it may hold {HOLDS}")


async def limit(levers: Levers, targets: Iterable[Address]) -> None:
    names = "|".join(re.escape(each.queue) for each in targets)
    policy = {"pattern": f"^({names})$", "definition": {"max-length": HOLDS}, "apply-to": "queues", "priority": 1}
    await levers.broker.put("operator-policies", levers.vhost, POLICY, body=policy)


def of_requests(service: str, found: Iterable[Address]) -> tuple[Address, ...]:
    """Where the flows that it provides come in by the broker. Pure."""
    flows = {flow.name for flow in CATALOGUE if flow.provider == service}
    return tuple(each for each in found if each.service == service and each.key.rpartition(".")[2] in flows)
