"""Whether a RabbitMQ answers over its management API, and which one it is."""

import base64
from http import HTTPStatus

import aiohttp
import msgspec

from prebook.devstack.errors import UserError
from prebook.devstack.servers import Broker

PROBE_TIMEOUT_S = 5.0


class _Overview(msgspec.Struct):
    rabbitmq_version: str


class _Node(msgspec.Struct):
    running: bool


class BrokerProbe:
    """``amqp_port`` also asks the node whether its AMQP listener is open: that opens last when a node boots.

    ``together``: so many nodes must run in its cluster.
    """

    def __init__(self, url: str, user: str, password: str, amqp_port: int | None = None, min_nodes: int = 1) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
        self._listener_check = f"/api/health/checks/port-listener/{amqp_port}" if amqp_port else None
        self._min_nodes = min_nodes
        self.version = ""
        self.error = ""

    async def is_ready(self) -> bool:
        """Query the broker once and return whether it is ready; ``version`` or ``error`` then holds what it said."""
        try:
            version, running = await self._query()
            self.version = version if running >= self._min_nodes else ""
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            self.error = f"{type(error).__name__}: {error}".splitlines()[0]
        return bool(self.version)

    async def _query(self) -> tuple[str, int]:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout, raise_for_status=True) as session:
            if self._listener_check:
                async with session.get(self._url + self._listener_check) as response:
                    self.error = "" if response.status == HTTPStatus.OK else f"status {response.status}"
            async with session.get(f"{self._url}/api/overview") as response:
                version = msgspec.json.decode(await response.read(), type=_Overview).rabbitmq_version
            async with session.get(f"{self._url}/api/nodes") as response:
                nodes = msgspec.json.decode(await response.read(), type=list[_Node])
        return version, sum(node.running for node in nodes)


async def probe_external_broker(amqp_url: str, management_url: str, user: str, password: str) -> Broker:
    """Connect to an external broker. Raises UserError if it does not respond."""
    probe = BrokerProbe(management_url, user, password)
    if not await probe.is_ready():
        raise UserError(
            f"no RabbitMQ management API answers at PREBOOK_MANAGEMENT_URL ({probe.error})",
            "start that broker with `rabbitmq-plugins enable rabbitmq_management`, and give an administrator's name "
            "and password in PREBOOK_AMQP_URL (amqp://user:password@host:port/vhost)",
        )
    return Broker(
        name="RabbitMQ",
        version=probe.version,
        amqp_url=amqp_url,
        management_url=management_url,
        user=user,
        password=password,
    )
