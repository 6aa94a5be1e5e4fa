"""Client of RabbitMQ's management HTTP API: declares a topology and reads the live one. RabbitMQ 3.10 to 4.x."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx
from httpx_aiohttp import AiohttpTransport

from prebook.messaging import addresses
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management_codec import (
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
"""The first declaration of a quorum queue waits for the election of its leader."""
MAX_CONCURRENT_REQUESTS = 8
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


class ManagementClient:
    """Client for one broker, with an administrator's account. Use it as a context manager.

    Every method raises BrokerUnreachable or BrokerRefused.
    """

    def __init__(self, url: str, user: str, password: str, vhost: str = addresses.VHOST) -> None:
        """``url`` as in ``http://127.0.0.1:15672``."""
        self.user = user
        self.vhost = vhost
        self._url = url
        self._vhost_path = escape(vhost)
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
        """Create the missing parts and change the changeable ones; remove nothing. Declaring twice changes nothing.

        ``passwords``: service -> password; the user of a service that is not in it keeps its password.
        """
        await self._create_vhost(on_declared)
        await self._create_users(topology, passwords, on_declared)
        for stage in declaration_stages(topology, self.vhost):
            await asyncio.gather(*(self._declare_one(step, on_declared) for step in stage))

    async def read_live_broker(self) -> LiveBroker:
        """Return the contents of the virtual host; an empty ``LiveBroker`` if it does not exist."""
        names = [v["name"] for v in await self._get("vhosts")]
        if self.vhost not in names:
            return LiveBroker()
        lists = await asyncio.gather(*(self._get(path.format(v=self._vhost_path)) for path in LIST_PATHS.values()))
        return live_broker(**dict(zip(LIST_PATHS, lists, strict=True)))

    async def _create_vhost(self, on_declared: OnDeclared) -> None:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await self._declare_one(
            ManagementRequest(f"virtual host {self.vhost}", f"vhosts/{self._vhost_path}", {}), on_declared
        )
        path = f"permissions/{self._vhost_path}/{escape(self.user)}"
        await self._declare_one(ManagementRequest(f"permission {self.user}", path, everything), on_declared)

    async def _create_users(self, topology: Topology, passwords: Mapping[str, str], on_declared: OnDeclared) -> None:
        """Declare the accounts. A user without a given password keeps its own, and loses every tag."""
        secrets = {user["name"]: password_hash(user) for user in await self._get("users")}
        secrets |= {addresses.broker_user(service): {"password": text} for service, text in passwords.items()}
        accounts = broker_accounts(topology)
        if missing := [service for service in accounts if addresses.broker_user(service) not in secrets]:
            raise BrokerRefused(f"a new user needs a password: give one for {', '.join(missing)}")
        for user in map(addresses.broker_user, accounts):
            await self._declare_one(user_request(user, secrets[user]), on_declared)

    async def _declare_one(self, request: ManagementRequest, on_declared: OnDeclared) -> None:
        _checked_response(await self._request(request.method, request.path, json=request.body), request.description)
        on_declared(request.description)

    async def _get(self, path: str) -> Any:
        response = _checked_response(await self._request("GET", path), path)
        try:
            return response.json()
        except ValueError:
            raise BrokerUnreachable(f"the server at {self._url} is no RabbitMQ management API") from None

    async def _request(self, method: str, path: str, json: Any = None) -> httpx.Response:
        try:
            async with self._semaphore, asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._http.request(method, path, json=json)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            cause = str(error) or type(error).__name__
            raise BrokerUnreachable(
                f"no broker at {self._url} ({cause}); is it up, and is rabbitmq_management on?"
            ) from None


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
