"""The console of a suite in containers: the control API of broker and database, which run elsewhere."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prebook.devstack.broker.probe import BrokerProbe
from prebook.devstack.containers import AMQP_PORT
from prebook.devstack.database.probe import DatabaseProbe
from prebook.devstack.polling import wait_until
from prebook.devstack.proxies.container_links import LINK_PORTS
from prebook.devstack.proxies.proxy import HostPort, host_port, open_proxies
from prebook.devstack.remote_server import LOOP_REMEDY, ControlLoop, RemoteBroker, RemoteDatabase
from prebook.devstack.servers import Log
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api, token_digest
from prebook.devstack.supervisor.server import SupervisedServer
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.postgres.dsn import asyncpg_dsn

READY_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, repr=False)
class ConsoleAccess:
    """Administrators' access to broker and database, and the folder that the console shares with their control loops.

    ``control_token``: token of the control API's clients.
    """

    database_url: str
    management_url: str
    management_user: str
    management_password: str
    control_folder: Path
    control_token: str
    amqp_url: str = ""
    """URL of the broker; it and ``internal_urls`` are needed for the fault proxies only."""
    internal_urls: Mapping[str, str] = field(default_factory=dict)
    """Base URL of the internal listener by service."""
    proxy_host: str = ""
    """Name by which services reach this console's fault proxies; "" for no proxies."""


async def run_console(access: ConsoleAccess, host: str, port: int, log: Log) -> None:
    """Serve the control API of broker and database until cancelled. Raises UserError if one of them does not answer."""
    servers = await _find_servers(access)
    upstreams = _upstreams(access) if access.proxy_host else {}
    listen = {name: [(await _resolve(access.proxy_host), LINK_PORTS[name])] for name in upstreams}
    try:
        async with open_proxies(upstreams, listen) as proxies:
            app = create_control_app(Supervisor([]), token_digest(access.control_token), servers, proxies)
            async with serve_control_api(app, host, port):
                log(f"the console controls {' and '.join(servers)}, and {len(proxies)} fault proxies")
                await asyncio.Event().wait()
    finally:
        for server in servers.values():
            await server.close()


def _upstreams(access: ConsoleAccess) -> dict[str, Sequence[HostPort]]:
    """Return the server behind each fault proxy, by name."""
    servers = {"broker": access.amqp_url, "database": access.database_url}
    urls = {f"{service}-{server}": url for service in access.internal_urls for server, url in servers.items()}
    urls |= {f"http-{service}": url for service, url in access.internal_urls.items()}
    return {name: [host_port(url)] for name, url in urls.items()}


async def _resolve(host: str) -> str:
    """Return the address of this container, at which clients of the control API reach its proxies too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, family=socket.AF_INET)
    return str(found[0][4][0])


async def _find_servers(access: ConsoleAccess) -> dict[str, SupervisedServer]:
    dsn = asyncpg_dsn(access.database_url)
    database_probe = DatabaseProbe(dsn)
    broker_probe = BrokerProbe(
        access.management_url, access.management_user, access.management_password, amqp_port=AMQP_PORT
    )
    for subject, probe in (("broker", broker_probe), ("database", database_probe)):
        await wait_until(probe.is_ready, READY_TIMEOUT_S, subject=subject, remedy=LOOP_REMEDY)
    broker = RemoteBroker(ControlLoop(access.control_folder / "broker"), broker_probe.is_ready)
    database = RemoteDatabase(ControlLoop(access.control_folder / "database"), database_probe.is_ready, dsn)
    return {
        "broker": SupervisedServer("broker", broker_probe.version, broker),
        "database": SupervisedServer("database", database_probe.version, database),
    }
