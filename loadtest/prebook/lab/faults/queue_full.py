"""Full-queue fault: stop a service and limit its queues, so that the broker rejects every further message."""

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

REDELIVER_EXCHANGE = "prebook.redeliver"
"""Exchange by which retries return to their queue; the routing key is the queue."""
POLICY_NAME = "prebook-lab-queue-full"
MAX_QUEUE_LENGTH = 1
PROBE_INTERVAL_S = 0.25
MAX_FILLERS = 400
"""Upper bound of messages that fill one queue: a stopped consumer still receives as many as its prefetch."""


@dataclass
class PublishProbe:
    """Publisher that counts how many of its messages the broker confirmed and refused."""

    results: Counter[str] = field(default_factory=Counter)

    async def publish(self, channel: AbstractChannel, binding: QueueBinding) -> str:
        """Publish an expired request directly to the queue, past the archive; return ``confirmed`` or ``refused``."""
        try:
            exchange = await channel.get_exchange(REDELIVER_EXCHANGE, ensure=False)
            await exchange.publish(expired_request(binding.routing_key), binding.queue)
            result = "confirmed"
        except DeliveryError:
            result = "refused"
        self.results[result] += 1
        return result


async def fill_queues(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
    """Limit the request queues of a stopped service to MAX_QUEUE_LENGTH messages for ``duration_s`` seconds.

    The limit is an operator policy, which RabbitMQ merges with the queues' own policies.
    Returns the evidence: the number of refused publishes. Raises NoEffect if the broker confirmed as many or more.
    """
    targets = request_bindings(fault.target, await read_bindings(fault_access))
    if not targets:
        raise NoEffect(f"the broker has no request queue of {fault.target}")
    async with (
        open_admin_channel(fault_access) as channel,
        suspend(fault_access.supervisor(fault.target), fault.target),
    ):
        try:
            await limit_length(fault_access, targets)
            refused = await _keep_full(channel, targets, duration_s)
        finally:
            await fault_access.broker.delete("operator-policies", fault_access.vhost, POLICY_NAME)
    return f"the broker refused {refused} messages to {', '.join(target.queue for target in targets)}"


async def _keep_full(channel: AbstractChannel, targets: Sequence[QueueBinding], duration_s: float) -> int:
    clock = asyncio.get_running_loop().time
    probe = PublishProbe()
    end = clock() + duration_s
    for target in targets:
        await _fill(channel, target)
    while clock() < end:
        await probe.publish(channel, targets[probe.results.total() % len(targets)])
        await asyncio.sleep(PROBE_INTERVAL_S)
    if probe.results["refused"] <= probe.results["confirmed"]:
        raise NoEffect(f"the queues were not full; results of test messages: {dict(probe.results)}")
    return probe.results["refused"]


async def _fill(channel: AbstractChannel, target: QueueBinding) -> None:
    probe = PublishProbe()
    while await probe.publish(channel, target) != "refused":
        if probe.results.total() > MAX_FILLERS:
            raise NoEffect(f"{target.queue} accepted {MAX_FILLERS} messages despite its limit of {MAX_QUEUE_LENGTH}")


async def limit_length(fault_access: FaultAccess, targets: Iterable[QueueBinding]) -> None:
    """Limit the targets' queues by an operator policy. Raises BrokerManagementError."""
    names = "|".join(re.escape(target.queue) for target in targets)
    policy = {
        "pattern": f"^({names})$",
        "definition": {"max-length": MAX_QUEUE_LENGTH},
        "apply-to": "queues",
        "priority": 1,
    }
    await fault_access.broker.put("operator-policies", fault_access.vhost, POLICY_NAME, body=policy)


def request_bindings(service: str, bindings: Iterable[QueueBinding]) -> tuple[QueueBinding, ...]:
    """Return the bindings through which the flows that ``service`` provides reach it."""
    flows = {flow.name for flow in ALL_FLOWS if flow.provider == service}
    return tuple(
        binding
        for binding in bindings
        if binding.service == service and binding.routing_key.rpartition(".")[2] in flows
    )
