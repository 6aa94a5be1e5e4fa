"""Client of RabbitMQ's management HTTP API: declares a topology and reads the live one. RabbitMQ 3.10 to 4.x."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Self, TypeVar

import httpx
import msgspec

from prebook.messaging import addresses
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management_codec import (
    ManagementRequest,
    declaration_stages,
    deletion_requests,
    escape,
    live_broker,
    password_hash,
    user_request,
)
from prebook.topology.access import broker_accounts, user_tags
from prebook.topology.check import LiveBroker
from prebook.topology.values import Topology

REQUEST_TIMEOUT_S = 15.0
"""The first declaration of a quorum queue waits for the election of its leader."""
MAX_CONCURRENT_REQUESTS = 8
T = TypeVar("T")
OnDeclared = Callable[[str], None]
"""Called with an operator's description of each step that is declared."""
LIST_PATHS: Mapping[str, str] = {
    "exchanges": "exchanges/{v}",
    "queues": "queues/{v}",
    "bindings": "bindings/{v}",
    "policies": "policies/{v}",
    "permissions": "vhosts/{v}/permissions",
    "topic_permissions": "vhosts/{v}/topic-permissions",
    "users": "users",
}


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of a queue, and the number of its consumers."""

    ready: int
    """Messages that no consumer has received."""
    unacknowledged: int
    """Messages that consumers have received and not acknowledged."""
    consumers: int


class ManagementClient:
    """Client for one broker, with an administrator's account. Use it as a context manager.

    Every method raises BrokerUnreachable or BrokerRefused.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        vhost: str = addresses.VHOST,
        *,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        """``url`` as in ``http://127.0.0.1:15672``."""
        self.user = user
        self.vhost = vhost
        self._url = url.rstrip("/")
        self._vhost_path = escape(vhost)
        self._request_timeout_s = request_timeout_s
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._http = httpx.AsyncClient(
            auth=(user, password),
            verify=_tls_context(),
            trust_env=False,
            timeout=None,  # noqa: S113 - limited in _request, as httpx has no timeout for a whole exchange
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def declare(
        self, topology: Topology, passwords: Mapping[str, str], on_declared: OnDeclared = lambda _: None
    ) -> None:
        """Create the missing parts and change the changeable ones; remove nothing. Declaring twice changes nothing.

        ``passwords``: service -> password; the user of a service that is not in it keeps its password.
        """
        await self._create_vhost(on_declared)
        await self._create_users(topology, passwords, on_declared)
        for stage in declaration_stages(topology, self.vhost):
            await asyncio.gather(*(self._declare_one(step, on_declared) for step in stage))

    async def delete_consumer(self, topology: Topology, account: str) -> list[str]:
        """Delete the queues that ``account`` consumes, with their messages and policies, and its user.

        Return descriptions of what existed.
        """
        deleted = []
        for request in deletion_requests(topology, account, self.vhost):
            response = await self._request(request.method, request.path)
            if response.status_code != httpx.codes.NOT_FOUND:
                _checked_response(response, f"deletion of {request.description}")
                deleted.append(request.description)
        return deleted

    async def read_live_broker(self) -> LiveBroker:
        """Return the contents of the virtual host; an empty ``LiveBroker`` if it does not exist."""
        names = [v["name"] for v in await self._get("vhosts", list)]
        if self.vhost not in names:
            return LiveBroker()
        paths = [path.format(v=self._vhost_path) for path in LIST_PATHS.values()]
        lists = await asyncio.gather(*(self._get(path, list) for path in paths))
        return live_broker(**dict(zip(LIST_PATHS, lists, strict=True)))

    async def read_version(self) -> str:
        """Return the version of RabbitMQ; empty if the overview has none."""
        overview = await self._get("overview", dict)
        return str(overview.get("rabbitmq_version", ""))

    async def count_running_nodes(self) -> int:
        """Return how many nodes of the cluster run."""
        return sum(node.get("running", False) for node in await self._get("nodes", list))

    async def count_messages(self) -> dict[str, int]:
        """Return the number of messages of each queue of the virtual host, a few seconds old."""
        queues = await self._get(f"queues/{self._vhost_path}", list)
        return {queue["name"]: queue.get("messages", 0) for queue in queues}

    async def read_queue_depths(self) -> dict[str, QueueDepth]:
        """Return the depth of each queue of the virtual host, a few seconds old."""
        queues = await self._get(f"queues/{self._vhost_path}", list)
        return {
            queue["name"]: QueueDepth(
                ready=queue.get("messages_ready", 0),
                unacknowledged=queue.get("messages_unacknowledged", 0),
                consumers=queue.get("consumers", 0),
            )
            for queue in queues
        }

    async def delete_vhost(self) -> None:
        """Delete the virtual host with all that it contains. Raises BrokerUnreachable, BrokerRefused."""
        _checked_response(await self._request("DELETE", f"vhosts/{self._vhost_path}"), f"virtual host {self.vhost}")

    async def check_listener(self, port: int) -> None:
        """Raise BrokerRefused unless a listener of the node is open at ``port``."""
        await self._get(f"health/checks/port-listener/{port}", dict)

    async def _create_vhost(self, on_declared: OnDeclared) -> None:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await self._declare_one(
            ManagementRequest(f"virtual host {self.vhost}", f"vhosts/{self._vhost_path}", {}), on_declared
        )
        path = f"permissions/{self._vhost_path}/{escape(self.user)}"
        await self._declare_one(ManagementRequest(f"permission {self.user}", path, everything), on_declared)

    async def _create_users(self, topology: Topology, passwords: Mapping[str, str], on_declared: OnDeclared) -> None:
        """Declare the accounts. A user without a given password keeps its own, and loses other tags."""
        secrets = {user["name"]: password_hash(user) for user in await self._get("users", list)}
        secrets |= {addresses.broker_user(service): {"password": text} for service, text in passwords.items()}
        accounts = broker_accounts(topology)
        if missing := [service for service in accounts if addresses.broker_user(service) not in secrets]:
            raise BrokerRefused(f"a new user needs a password: give one for {', '.join(missing)}")
        for user, tags in user_tags(topology).items():
            await self._declare_one(user_request(user, secrets[user], tags), on_declared)

    async def _declare_one(self, request: ManagementRequest, on_declared: OnDeclared) -> None:
        _checked_response(await self._request(request.method, request.path, json=request.body), request.description)
        on_declared(request.description)

    async def _get(self, path: str, json_type: type[T]) -> T:
        """Return the document at ``path``, which is a ``list`` or a ``dict`` as ``json_type`` says."""
        response = _checked_response(await self._request("GET", path), path)
        with suppress(ValueError):
            document = response.json()
            if isinstance(document, json_type):
                return document
        raise BrokerUnreachable(f"the server at {self._url} is no RabbitMQ management API")

    async def _request(self, method: str, path: str, json: Any = None) -> httpx.Response:
        try:
            async with self._semaphore, asyncio.timeout(self._request_timeout_s):
                return await self._http.request(method, f"{self._url}/api/{path}", json=json)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            cause = str(error) or type(error).__name__
            raise BrokerUnreachable(
                f"no broker at {self._url} ({cause}); is it up, and is rabbitmq_management on?"
            ) from None


@cache
def _tls_context() -> ssl.SSLContext:
    """One context for every client, since loading the certificate authorities takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


def _checked_response(response: httpx.Response, action: str) -> httpx.Response:
    """Return the response. Raises BrokerRefused, with the broker's reason, for an error status."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise BrokerRefused(f"{action}: wrong user or password, or the user is no administrator")
    if response.is_error:
        raise BrokerRefused(f"{action}: {response.status_code} {_reason(response)}")
    return response


def _reason(response: httpx.Response) -> str:
    try:
        body = response.json()
        return str(body.get("reason") or body.get("error"))
    except (ValueError, AttributeError):
        return response.text[:200]
