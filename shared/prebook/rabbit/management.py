"""RabbitMQ's management HTTP API: declares a topology, and tells what is there. RabbitMQ 3.10 to 4.x."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx
from httpx_aiohttp import AiohttpTransport

from prebook.messaging import addresses
from prebook.rabbit.management_codec import (
    Json,
    ManagementRequest,
    declaration_stages,
    escape,
    live_broker,
    password_hash,
    user_request,
)
from prebook.topology.access import broker_accounts
from prebook.topology.check import LiveBroker
from prebook.topology.values import Topology

REQUEST_TIMEOUT_S = 15.0
"""A quorum queue's first declaration waits for its leader's election."""
MAX_CONCURRENT_REQUESTS = 8
OnDeclared = Callable[[str], None]
LIST_PATHS: Mapping[str, str] = {
    "exchanges": "exchanges/{v}",
    "queues": "queues/{v}",
    "bindings": "bindings/{v}",
    "policies": "policies/{v}",
    "permissions": "vhosts/{v}/permissions",
    "topic_permissions": "vhosts/{v}/topic-permissions",
    "users": "users",
}


class BrokerUnreachable(Exception):
    """No answer at that address, or not from a management API; the text says what to check."""


class BrokerRefused(Exception):
    """The broker understood and would not; the text has its reason."""


class ManagementClient:
    """One broker, seen by an administrator. ``url`` as in ``http://127.0.0.1:15672``. Use as a context manager.

    Every method raises BrokerUnreachable or BrokerRefused.
    """

    def __init__(self, url: str, user: str, password: str, vhost: str = addresses.VHOST) -> None:
        self.user, self.vhost = user, vhost
        self._url, self._vhost_path = url, escape(vhost)
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/",
            auth=(user, password),
            transport=AiohttpTransport(trust_env=False),
            trust_env=False,
            timeout=REQUEST_TIMEOUT_S,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def declare(
        self, topology: Topology, passwords: Mapping[str, str], on_declared: OnDeclared = lambda _: None
    ) -> None:
        """Creates what is missing and changes what may be changed; removes nothing. The same again changes nothing.

        ``passwords`` by service; a user without one keeps its password. ``on_declared`` is called after each step.
        """
        await self._create_vhost(on_declared)
        await self._create_users(topology, passwords, on_declared)
        for stage in declaration_stages(topology, self.vhost):
            await asyncio.gather(*(self._declare_one(step, on_declared) for step in stage))

    async def read_live_broker(self) -> LiveBroker:
        """What the virtual host holds; nothing at all where there is none."""
        names = [v["name"] for v in await self._get("vhosts")]
        if self.vhost not in names:
            return LiveBroker()
        told = await asyncio.gather(*(self._get(part.format(v=self._vhost_path)) for part in LIST_PATHS.values()))
        return live_broker(**dict(zip(LIST_PATHS, told, strict=True)))

    async def read_overview(self) -> Json:
        """As the broker tells it: ``rabbitmq_version``, ``cluster_name``, ``queue_totals``, ..."""
        told: Json = await self._get("overview")
        return told

    async def read_depths(self) -> dict[str, int]:
        """Queue -> messages in it, ready and unacknowledged. A broker's statistics lag up to 5 s behind."""
        queues = await self._get(f"queues/{self._vhost_path}")
        return {queue["name"]: queue.get("messages", 0) for queue in queues}

    async def close_all_connections(self, reason: str) -> int:
        """Every client of this virtual host is cut off, as by an operator. How many there were.

        A connection opened in the last seconds may not be listed yet.
        """
        names = [connection["name"] for connection in await self._get(f"vhosts/{self._vhost_path}/connections")]
        return sum(await asyncio.gather(*(self._close_connection(name, reason) for name in names)))

    async def _close_connection(self, name: str, reason: str) -> bool:
        path = f"connections/{escape(name)}"
        response = await self._request("DELETE", path, headers={"X-Reason": reason})
        return response.status_code != httpx.codes.NOT_FOUND and bool(_checked_response(response, path))

    async def _create_vhost(self, on_declared: OnDeclared) -> None:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await self._declare_one(
            ManagementRequest(f"virtual host {self.vhost}", f"vhosts/{self._vhost_path}", {}), on_declared
        )
        path = f"permissions/{self._vhost_path}/{escape(self.user)}"
        await self._declare_one(ManagementRequest(f"permission {self.user}", path, everything), on_declared)

    async def _create_users(self, topology: Topology, passwords: Mapping[str, str], on_declared: OnDeclared) -> None:
        """A user whose password is not given keeps the one it has, and loses the tags that it should not have."""
        secrets = {user["name"]: password_hash(user) for user in await self._get("users")}
        secrets |= {addresses.broker_user(service): {"password": text} for service, text in passwords.items()}
        needed = broker_accounts(topology)
        if lacking := [service for service in needed if addresses.broker_user(service) not in secrets]:
            raise BrokerRefused(f"a new user needs a password: give one for {', '.join(lacking)}")
        for user in map(addresses.broker_user, needed):
            await self._declare_one(user_request(user, secrets[user]), on_declared)

    async def _declare_one(self, request: ManagementRequest, on_declared: OnDeclared) -> None:
        _checked_response(await self._request(request.method, request.path, json=request.body), request.description)
        on_declared(request.description)

    async def _get(self, path: str) -> Any:
        response = _checked_response(await self._request("GET", path), path)
        try:
            return response.json()
        except ValueError:
            raise BrokerUnreachable(f"what answers at {self._url} is no RabbitMQ management API") from None

    async def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            async with self._semaphore, asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._http.request(method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            cause = str(error) or type(error).__name__
            raise BrokerUnreachable(
                f"no broker at {self._url} ({cause}); is it up, and is rabbitmq_management on?"
            ) from None


def _checked_response(response: httpx.Response, action: str) -> httpx.Response:
    """Raises BrokerRefused with the reason that the broker gives."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise BrokerRefused(f"{action}: the broker knows no such user and password, or the user is no administrator")
    if response.is_error:
        raise BrokerRefused(f"{action}: {response.status_code} {_reason(response)}")
    return response


def _reason(response: httpx.Response) -> str:
    try:
        told = response.json()
        return str(told.get("reason") or told.get("error"))
    except (ValueError, AttributeError):
        return response.text[:200]
