"""RabbitMQ as child processes: names, cookie, ports, epmd and data of its own, none shared with a packaged service."""

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from prebook.asyncio_tools import first_error_task_group
from prebook.devstack.broker.installation import RabbitInstallation
from prebook.devstack.broker.node import ADMIN_USER, START_REMEDY, NodeConfig, RabbitNode
from prebook.devstack.broker.probe import BrokerProbe
from prebook.devstack.child_process import ChildProcess, spawn
from prebook.devstack.polling import wait_until
from prebook.devstack.ports import LOOPBACK, allocate_ports, is_free
from prebook.devstack.servers import Broker, BrokerServer, Log, ServerProcess

EPMD_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 2.0
"""Seconds before a node is killed: an orderly stop takes 6 s and saves data that is deleted anyway."""
SINGLE_NODE_ERLANG_ARGS = "+S 2:2 +SDcpu 1:1 +A 4"
CLUSTER_NODE_ERLANG_ARGS = "+S 1:1 +SDcpu 1:1 +A 2"
CLUSTER_CONF = """\
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
queue_leader_locator = balanced
"""
"""In a network partition, nodes without a majority pause, so that clients never see two diverging brokers."""


class LocalBroker(BrokerServer):
    """RabbitMQ on this machine: a single node or a cluster, with a random administrator and without `guest`."""

    def __init__(self, installation: RabbitInstallation, data_dir: Path, log: Log, node_count: int = 1) -> None:
        self._installation = installation
        self._data_dir = data_dir
        self._log = log
        self._epmd: ChildProcess | None = None
        self._nodes: list[RabbitNode] = []
        self._node_count = node_count

    @property
    def processes(self) -> Sequence[ServerProcess]:
        return self._nodes

    async def start(self) -> Broker:
        what = "a private node" if self._node_count == 1 else f"{self._node_count} private nodes"
        self._log(f"RabbitMQ: starting {what} of {self._installation.server}")
        configs = _allocate_node_configs(self._node_count)
        homes = ["rabbitmq", *(f"rabbitmq-{number}" for number in range(2, self._node_count + 1))]
        self._nodes += [
            RabbitNode(self._installation, self._data_dir / home, config)
            for home, config in zip(homes, configs, strict=True)
        ]
        first, *others = self._nodes
        config = configs[0]
        await self._start_epmd(first, config.epmd_port)
        child = await first.start()
        if others:
            await self._join(config, others)
        return Broker(
            name="RabbitMQ",
            version=first.version,
            amqp_url=config.amqp_url,
            management_url=config.management_url,
            user=ADMIN_USER,
            password=config.password,
            pid=child.pid,
            other_amqp_urls=[other.amqp_url for other in configs[1:]],
        )

    async def _join(self, config: NodeConfig, others: Sequence[RabbitNode]) -> None:
        """Start the other nodes after the first. Started together, each might form a cluster of its own."""
        async with first_error_task_group() as group:
            for node in others:
                group.create_task(node.start())
        probe = BrokerProbe(config.management_url, ADMIN_USER, config.password, min_nodes=self._node_count)
        await wait_until(
            probe.is_ready,
            JOIN_TIMEOUT_S,
            subject=f"RabbitMQ's cluster of {self._node_count} nodes",
            remedy=START_REMEDY,
        )

    async def stop(self) -> None:
        """Stop the nodes, then epmd, which they are registered with."""
        children = [node.child for node in self._nodes if node.child]
        await asyncio.gather(*(child.stop(STOP_TIMEOUT_S) for child in children))
        if self._epmd:
            await self._epmd.stop(STOP_TIMEOUT_S)

    async def _start_epmd(self, node: RabbitNode, port: int) -> None:
        """Start epmd on loopback only. An epmd that Erlang starts listens on every interface and outlives its node."""
        self._epmd = epmd = await spawn(node.command(self._installation.epmd, "-port", str(port), "-address", LOOPBACK))

        async def listens() -> bool:
            return not is_free(port)

        await wait_until(
            listens, EPMD_TIMEOUT_S, subject="Erlang's port mapper (epmd)", remedy=START_REMEDY, child=epmd
        )


def _allocate_node_configs(node_count: int) -> list[NodeConfig]:
    epmd_port, *ports = allocate_ports(1 + 3 * node_count)
    names = [f"prebook-{epmd_port}-{number}@localhost" for number in range(1, node_count + 1)]
    members = "".join(f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(names, 1))
    cookie = secrets.token_hex(16)
    password = secrets.token_hex(16)
    return [
        NodeConfig(
            name=name,
            epmd_port=epmd_port,
            amqp_port=amqp,
            management_port=management,
            distribution_port=distribution,
            cookie=cookie,
            password=password,
            erlang_args=SINGLE_NODE_ERLANG_ARGS if node_count == 1 else CLUSTER_NODE_ERLANG_ARGS,
            extra_conf="" if node_count == 1 else CLUSTER_CONF + members,
        )
        for name, amqp, management, distribution in zip(names, ports[::3], ports[1::3], ports[2::3], strict=True)
    ]
