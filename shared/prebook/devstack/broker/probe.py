"""Probe of a RabbitMQ broker over its management API: readiness and version."""

from prebook.devstack.errors import UserError
from prebook.devstack.servers import Broker
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient

PROBE_TIMEOUT_S = 5.0
"""Seconds for each request of a probe."""


class BrokerProbe:
    """Probe of one broker.

    ``amqp_port``: port of an AMQP listener that must be open too; a node opens it last when it boots.
    ``min_nodes``: number of nodes that must run in its cluster.
    """

    def __init__(self, url: str, user: str, password: str, amqp_port: int | None = None, min_nodes: int = 1) -> None:
        self._url = url
        self._user = user
        self._password = password
        self._amqp_port = amqp_port
        self._min_nodes = min_nodes
        self.version = ""
        self.error = ""

    async def is_ready(self) -> bool:
        """Query the broker once and return whether it is ready; ``version`` or ``error`` then holds the result."""
        try:
            version, running = await self._query()
            is_complete = bool(version) and running >= self._min_nodes
            self.version = version if is_complete else ""
            self.error = "" if is_complete else f"version {version or 'unknown'}, {running} node(s) running"
        except (BrokerUnreachable, BrokerRefused) as error:
            self.error = str(error)
        return bool(self.version)

    async def _query(self) -> tuple[str, int]:
        """Return the broker's version and the number of its nodes that run."""
        async with ManagementClient(
            self._url, self._user, self._password, request_timeout_s=PROBE_TIMEOUT_S
        ) as management:
            if self._amqp_port:
                await management.check_listener(self._amqp_port)
            return await management.read_version(), await management.count_running_nodes()


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
