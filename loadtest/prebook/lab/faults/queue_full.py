"""A service's queues are full: it does not take from them, and they are let hold next to nothing."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError

from prebook.flows import ALL_FLOWS
from prebook.lab.faults.broker_channel import QueueBinding, open_admin_channel, read_bindings
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.messages import expired_request
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.faults.processes import suspend

POLICY_NAME = "prebook-lab-queue-full"
MAX_QUEUE_LENGTH = 1
PROBE_INTERVAL_S = 0.25
MAX_FILLERS = 400
"""Whoever takes them in hand without working on them takes no more than its prefetch."""


@dataclass
class PublishProbe:
    """What the broker said to ours."""

    results: Counter[str] = field(default_factory=Counter)

    async def publish(self, channel: AbstractChannel, binding: QueueBinding) -> str:
        """Straight into the queue: the archive of all events need not hear of it."""
        try:
            await channel.default_exchange.publish(expired_request(binding.routing_key), binding.queue)
            word = "confirmed"
        except DeliveryError:
            word = "refused"
        self.results[word] += 1
        return word


async def fill_queues(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """An operator's policy is merged with the queue's own, which stays as it is."""
    targets = request_bindings(fault.target, await read_bindings(fault_access))
    if not targets:
        raise NoEffect(f"the broker has no queue that {fault.target} takes requests from")
    async with (
        open_admin_channel(fault_access) as channel,
        suspend(fault_access.supervisor(fault.target), fault.target),
    ):
        try:
            await limit_length(fault_access, targets)
            refused = await _keep_full(channel, targets, duration_s)
        finally:
            await fault_access.broker.delete("operator-policies", fault_access.vhost, POLICY_NAME)
    return f"{refused} of our publishes to {', '.join(each.queue for each in targets)} refused by the broker"


async def _keep_full(channel: AbstractChannel, targets: Sequence[QueueBinding], duration_s: float) -> int:
    clock = asyncio.get_running_loop().time
    probes = PublishProbe()
    over = clock() + duration_s
    for target in targets:
        await _fill(channel, target)
    while clock() < over:
        await probes.publish(channel, targets[probes.results.total() % len(targets)])
        await asyncio.sleep(PROBE_INTERVAL_S)
    if probes.results["refused"] <= probes.results["confirmed"]:
        raise NoEffect(f"the queues were not full: what the broker said to our publishes was {dict(probes.results)}")
    return probes.results["refused"]


async def _fill(channel: AbstractChannel, target: QueueBinding) -> None:
    filling = PublishProbe()
    while await filling.publish(channel, target) != "refused":
        if filling.results.total() > MAX_FILLERS:
            raise NoEffect(f"{target.queue} took {MAX_FILLERS} messages although it may hold {MAX_QUEUE_LENGTH}")


async def limit_length(fault_access: FaultAccess, targets: Iterable[QueueBinding]) -> None:
    names = "|".join(re.escape(each.queue) for each in targets)
    policy = {
        "pattern": f"^({names})$",
        "definition": {"max-length": MAX_QUEUE_LENGTH},
        "apply-to": "queues",
        "priority": 1,
    }
    await fault_access.broker.put("operator-policies", fault_access.vhost, POLICY_NAME, body=policy)


def request_bindings(service: str, bindings: Iterable[QueueBinding]) -> tuple[QueueBinding, ...]:
    """Where the flows that it provides come in by the broker. Pure."""
    flows = {flow.name for flow in ALL_FLOWS if flow.provider == service}
    return tuple(each for each in bindings if each.service == service and each.routing_key.rpartition(".")[2] in flows)
