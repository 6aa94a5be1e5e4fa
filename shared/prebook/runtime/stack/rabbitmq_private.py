"""RabbitMQ of our own: own names, cookie, ports, port mapper and data, nothing shared with a packaged service."""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from prebook.runtime.stack.child import Child, spawn
from prebook.runtime.stack.parts import Broker, Member, Say
from prebook.runtime.stack.ports import LOOPBACK, free_ports, is_free
from prebook.runtime.stack.rabbitmq_found import Installation
from prebook.runtime.stack.rabbitmq_node import ADMIN, LOOK, Node, Seat
from prebook.runtime.stack.waiting import until

MAPPER_WITHIN_S = 10.0
STOP_WITHIN_S = 2.0
"""Its orderly stop takes 6 s and saves data that is thrown away a moment later."""
ALONE = "+S 2:2 +SDcpu 1:1 +A 4"


class PrivateBroker:
    """One node with a random administrator; `guest` is never created."""

    def __init__(self, found: Installation, data: Path, say: Say) -> None:
        self._found, self._data, self._say = found, data, say
        self._mapper: Child | None = None
        self._nodes: list[Node] = []

    @property
    def members(self) -> Sequence[Member]:
        return self._nodes

    async def start(self) -> Broker:
        self._say(f"RabbitMQ: starting a private node of {self._found.server}")
        seat = _seat()
        node = Node(self._found, self._data / "rabbitmq", seat)
        self._nodes.append(node)
        await self._map_ports(node, seat.mapper)
        child = await node.start()
        return Broker(
            name="RabbitMQ",
            version=node.version,
            amqp_url=seat.amqp_url,
            management_url=seat.management_url,
            user=ADMIN,
            password=seat.password,
            pid=child.pid,
        )

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


def _seat() -> Seat:
    amqp, management, distribution, mapper = free_ports(4)
    return Seat(
        name=f"prebook-{mapper}@localhost",
        mapper=mapper,
        amqp=amqp,
        management=management,
        distribution=distribution,
        cookie=secrets.token_hex(16),
        password=secrets.token_hex(16),
        emulator=ALONE,
    )
