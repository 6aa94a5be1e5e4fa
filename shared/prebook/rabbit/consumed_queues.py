"""Which queues a service takes from, how many messages of each at a time, and which of them are message groups."""

from collections.abc import Iterator
from dataclasses import dataclass

from prebook.flows import ALL_FLOWS, EVENT_PARTITIONS, EVENT_TYPES
from prebook.messaging import addresses
from prebook.messaging.policy import Policies


@dataclass(frozen=True)
class ConsumedQueue:
    """``partitions`` is 0 where it is one queue, which any number of consumers share."""

    address: str
    prefetch: int
    partitions: int = 0

    @property
    def prefetch_by_queue(self) -> dict[str, int]:
        """Queue -> prefetch. All partitions together have twice what one queue would have: replicas share them."""
        if not self.partitions:
            return {self.address: self.prefetch}
        each = min(self.prefetch, -(-2 * self.prefetch // self.partitions))
        return {addresses.partition_queue(self.address, number): each for number in range(self.partitions)}

    @property
    def group_by_partition(self) -> dict[str, str]:
        """Partition -> this, where it is a message group."""
        return dict.fromkeys(self.prefetch_by_queue, self.address) if self.partitions else {}


def consumed_queues_of(service: str, policies: Policies) -> Iterator[ConsumedQueue]:
    provided = [flow for flow in ALL_FLOWS if flow.provider == service]
    called = [flow for flow in ALL_FLOWS if flow.caller == service]
    for flow in provided:
        prefetch = policies[flow.name].prefetch
        for named in (addresses.request_queue, addresses.one_way_request_queue):
            yield ConsumedQueue(named(service, flow.name), prefetch, flow.partitions)
    most = max((policies[flow.name].prefetch for flow in called or provided), default=1)
    for answers in (addresses.reply_queue, addresses.one_way_reply_queue) if called else ():
        yield ConsumedQueue(answers(service), most)
    if any(service in told.subscribers for told in EVENT_TYPES):
        yield ConsumedQueue(addresses.event_queue(service), most, EVENT_PARTITIONS.get(service, 0))


def prefetch_by_queue(service: str, policies: Policies) -> dict[str, int]:
    """Queue name -> prefetch."""
    return {
        name: prefetch
        for inbound in consumed_queues_of(service, policies)
        for name, prefetch in inbound.prefetch_by_queue.items()
    }


def group_by_partition(service: str, policies: Policies) -> dict[str, str]:
    """Partition -> the message group that it belongs to."""
    return {
        name: group
        for inbound in consumed_queues_of(service, policies)
        for name, group in inbound.group_by_partition.items()
    }
