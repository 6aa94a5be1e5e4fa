"""RabbitMQ of our own: own names, cookie, ports, port mapper and data, nothing shared with a packaged service."""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from prebook.devstack.broker.installation import Installation
from prebook.devstack.broker.node import ADMIN, LOOK, Node, Seat
from prebook.devstack.broker.probe import BrokerProbe
from prebook.devstack.child_process import Child, spawn
from prebook.devstack.polling import until
from prebook.devstack.ports import LOOPBACK, free_ports, is_free
from prebook.devstack.servers import Broker, Member, Say

MAPPER_WITHIN_S, JOINED_WITHIN_S = 10.0, 30.0
STOP_WITHIN_S = 2.0
"""Its orderly stop takes 6 s and saves data that is thrown away a moment later."""
ALONE, ONE_OF_SEVERAL = "+S 2:2 +SDcpu 1:1 +A 4", "+S 1:1 +SDcpu 1:1 +A 2"
CLUSTER = """\
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
queue_leader_locator = balanced
"""
"""The side of a split that has no majority stops by itself, so that nobody is served by two brokers that disagree."""


class PrivateBroker:
    """One node with a random administrator, or a cluster of several on this machine; `guest` is never created."""

    def __init__(self, found: Installation, data: Path, say: Say, nodes: int = 1) -> None:
        self._found, self._data, self._say = found, data, say
        self._mapper: Child | None = None
        self._nodes: list[Node] = []
        self._count = nodes

    @property
    def members(self) -> Sequence[Member]:
        return self._nodes

    async def start(self) -> Broker:
        what = "a private node" if self._count == 1 else f"{self._count} private nodes"
        self._say(f"RabbitMQ: starting {what} of {self._found.server}")
        seats = _seats(self._count)
        homes = ["rabbitmq", *(f"rabbitmq-{number}" for number in range(2, self._count + 1))]
        self._nodes += [Node(self._found, self._data / home, seat) for home, seat in zip(homes, seats, strict=True)]
        (first, *others), seat = self._nodes, seats[0]
        await self._map_ports(first, seat.mapper)
        child = await first.start()
        if others:
            await self._join(seat, others)
        return Broker(
            name="RabbitMQ",
            version=first.version,
            amqp_url=seat.amqp_url,
            management_url=seat.management_url,
            user=ADMIN,
            password=seat.password,
            pid=child.pid,
            further_amqp_urls=[other.amqp_url for other in seats[1:]],
        )

    async def _join(self, seat: Seat, others: Sequence[Node]) -> None:
        """After the first: of several that start at once, each might make a cluster of its own."""
        try:
            async with asyncio.TaskGroup() as group:
                for node in others:
                    group.create_task(node.start())
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        probe = BrokerProbe(seat.management_url, ADMIN, seat.password, together=self._count)
        await until(probe.holds, JOINED_WITHIN_S, what=f"RabbitMQ's cluster of {self._count} nodes", remedy=LOOK)

    async def stop(self) -> None:
        """The nodes before their port mapper."""
        children = [node.child for node in self._nodes if node.child]
        await asyncio.gather(*(child.stop(STOP_WITHIN_S) for child in children))
        if self._mapper:
            await self._mapper.stop(STOP_WITHIN_S)

    async def _map_ports(self, node: Node, port: int) -> None:
        """Erlang's own would listen on every interface and stay behind when the node has gone."""
        self._mapper = mapper = await spawn(node.command(self._found.epmd, "-port", str(port), "-address", LOOPBACK))

        async def listens() -> bool:
            return not is_free(port)

        await until(listens, MAPPER_WITHIN_S, what="Erlang's port mapper", remedy=LOOK, child=mapper)


def _seats(count: int) -> list[Seat]:
    mapper, *ports = free_ports(1 + 3 * count)
    names = [f"prebook-{mapper}-{number}@localhost" for number in range(1, count + 1)]
    members = "".join(f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(names, 1))
    cookie, password = secrets.token_hex(16), secrets.token_hex(16)
    return [
        Seat(
            name=name,
            mapper=mapper,
            amqp=amqp,
            management=management,
            distribution=distribution,
            cookie=cookie,
            password=password,
            emulator=ALONE if count == 1 else ONE_OF_SEVERAL,
            lines="" if count == 1 else CLUSTER + members,
        )
        for name, amqp, management, distribution in zip(names, ports[::3], ports[1::3], ports[2::3], strict=True)
    ]
