"""The queues that a service consumes, with the prefetch of each, and the partitions among them."""

from collections.abc import Iterator
from dataclasses import dataclass

from prebook.flows import ALL_FLOWS, EVENT_PARTITIONS, EVENT_TYPES
from prebook.messaging import addresses
from prebook.messaging.policy import Policies


@dataclass(frozen=True)
class ConsumedQueue:
    """A queue, or a partitioned queue, that a service consumes.

    ``partitions`` is 0 for a plain queue, which any number of consumers share.
    """

    address: str
    prefetch: int
    partitions: int = 0

    @property
    def prefetch_by_queue(self) -> dict[str, int]:
        """Queue -> prefetch. The partitions together have twice the prefetch of one queue, as replicas share them."""
        if not self.partitions:
            return {self.address: self.prefetch}
        each = min(self.prefetch, -(-2 * self.prefetch // self.partitions))
        return {addresses.partition_queue(self.address, number): each for number in range(self.partitions)}

    @property
    def group_by_partition(self) -> dict[str, str]:
        """Partition -> address of the message group; empty for a plain queue."""
        return dict.fromkeys(self.prefetch_by_queue, self.address) if self.partitions else {}


def consumed_queues_of(service: str, policies: Policies) -> Iterator[ConsumedQueue]:
    """Yield the queues of the flows that the service provides or calls, and of the events that it subscribes to."""
    provided = [flow for flow in ALL_FLOWS if flow.provider == service]
    called = [flow for flow in ALL_FLOWS if flow.caller == service]
    for flow in provided:
        prefetch = policies[flow.name].prefetch
        for queue_name in (addresses.request_queue, addresses.one_way_request_queue):
            yield ConsumedQueue(queue_name(service, flow.name), prefetch, flow.partitions)
    max_prefetch = max((policies[flow.name].prefetch for flow in called or provided), default=1)
    for reply_queue_name in (addresses.reply_queue, addresses.one_way_reply_queue) if called else ():
        yield ConsumedQueue(reply_queue_name(service), max_prefetch)
    if any(service in event.subscribers for event in EVENT_TYPES):
        yield ConsumedQueue(addresses.event_queue(service), max_prefetch, EVENT_PARTITIONS.get(service, 0))


def prefetch_by_queue(service: str, policies: Policies) -> dict[str, int]:
    """Queue name -> prefetch, of every queue that the service consumes."""
    return {
        name: prefetch
        for queue in consumed_queues_of(service, policies)
        for name, prefetch in queue.prefetch_by_queue.items()
    }


def group_by_partition(service: str, policies: Policies) -> dict[str, str]:
    """Partition -> address of its message group, of every partition that the service consumes."""
    return {
        name: group
        for queue in consumed_queues_of(service, policies)
        for name, group in queue.group_by_partition.items()
    }
