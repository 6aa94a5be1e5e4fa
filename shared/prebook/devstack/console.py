"""The console of a suite in containers: the control API of broker and database, which run elsewhere."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.broker.probe import BrokerProbe
from prebook.devstack.containers import AMQP_PORT
from prebook.devstack.database.probe import DatabaseProbe
from prebook.devstack.polling import wait_until
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


async def run_console(access: ConsoleAccess, host: str, port: int, log: Log) -> None:
    """Serve the control API of broker and database until cancelled. Raises UserError if one of them does not answer."""
    servers = await _find_servers(access)
    app = create_control_app(Supervisor([]), token_digest(access.control_token), servers)
    try:
        async with serve_control_api(app, host, port):
            log(f"the console controls {' and '.join(servers)}")
            await asyncio.Event().wait()
    finally:
        for server in servers.values():
            await server.close()


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
