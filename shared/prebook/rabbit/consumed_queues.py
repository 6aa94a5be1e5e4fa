"""Which queues a service takes from, how many messages of each at a time, and which of them are message groups."""

from collections.abc import Iterator
from dataclasses import dataclass

from prebook.flows import ANNOUNCEMENTS, CATALOGUE, FACT_PARTITIONS
from prebook.messaging import addresses
from prebook.messaging.policy import Policies


@dataclass(frozen=True)
class Inbound:
    """``partitions`` is 0 where it is one queue, which any number of consumers share."""

    address: str
    prefetch: int
    partitions: int = 0

    @property
    def queues(self) -> dict[str, int]:
        """Queue -> prefetch. All partitions together have twice what one queue would have: replicas share them."""
        if not self.partitions:
            return {self.address: self.prefetch}
        each = min(self.prefetch, -(-2 * self.prefetch // self.partitions))
        return {addresses.partition(self.address, number): each for number in range(self.partitions)}

    @property
    def groups(self) -> dict[str, str]:
        """Partition -> this, where it is a message group."""
        return dict.fromkeys(self.queues, self.address) if self.partitions else {}


def inbound_of(service: str, policies: Policies) -> Iterator[Inbound]:
    provided = [flow for flow in CATALOGUE if flow.provider == service]
    called = [flow for flow in CATALOGUE if flow.caller == service]
    for flow in provided:
        prefetch = policies[flow.name].prefetch
        for named in (addresses.request_queue, addresses.asked_queue):
            yield Inbound(named(service, flow.name), prefetch, flow.partitions)
    most = max((policies[flow.name].prefetch for flow in called or provided), default=1)
    for answers in (addresses.reply_queue, addresses.answer_queue) if called else ():
        yield Inbound(answers(service), most)
    if any(service in told.subscribers for told in ANNOUNCEMENTS):
        yield Inbound(addresses.fact_queue(service), most, FACT_PARTITIONS.get(service, 0))


def queues_of(service: str, policies: Policies) -> dict[str, int]:
    """Queue name -> prefetch."""
    return {name: prefetch for inbound in inbound_of(service, policies) for name, prefetch in inbound.queues.items()}


def groups_of(service: str, policies: Policies) -> dict[str, str]:
    """Partition -> the message group that it belongs to."""
    return {name: group for inbound in inbound_of(service, policies) for name, group in inbound.groups.items()}
