"""A whole suite on this machine: parts, set-up, services and their supervisor, and all of it gone at the end."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.errors import UserError
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.proxies.proxy import open_proxies
from prebook.devstack.servers import Log
from prebook.devstack.service_environment import SuiteOptions, archive_url, process_specs, proxy_upstreams
from prebook.devstack.setup import admin_access, set_up
from prebook.devstack.stack import Stack, start_stack
from prebook.devstack.suite_state import SuiteState, lock_home, write_suite_state
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api
from prebook.devstack.supervisor.server import SupervisedServer, supervise_servers
from prebook.devstack.supervisor.supervisor import Supervisor

READY_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.5


@dataclass(frozen=True)
class RunningSuite:
    """A running one."""

    state: SuiteState
    supervisor: Supervisor
    servers: Mapping[str, SupervisedServer]
    """Those that are processes of ours."""

    async def wait_until_broken(self) -> UserError:
        """Returns when the suite cannot go on: a part is gone, or a service was given up."""
        while True:
            if trouble := self._failure():
                return trouble
            await asyncio.sleep(POLL_INTERVAL_S)

    def _failure(self) -> UserError | None:
        for part in self.servers.values():
            if trouble := part.failure():
                return trouble
        if given_up := self.supervisor.find_failed():
            return UserError(f"{given_up.spec.name} ended: {given_up.log_tail}", f"read {given_up.spec.log_file}")
        return None


@asynccontextmanager
async def launch(home: Path, options: SuiteOptions, log: Log) -> AsyncIterator[RunningSuite]:
    """Every service is ready. Raises UserError; leaves no process and no suite.json behind."""
    logs = home / "logs"
    with lock_home(home):
        async with start_stack(log, broker_nodes=options.broker_nodes) as parts, supervise_servers(parts) as ours:
            await set_up(admin_access(parts, options.passwords), logs, log)
            async with open_proxies(proxy_upstreams(options, parts)) as ways:
                supervisor = Supervisor(process_specs(options, parts, logs, ways))
                control = create_control_app(supervisor, options.control_token, ours, ways)
                log("services: starting")
                async with supervisor.run(), serve_control_api(control, LOOPBACK, options.control_port):
                    await supervisor.wait_until_ready(READY_TIMEOUT_S)
                    whereabouts = _suite_state(parts, options, logs)
                    with write_suite_state(home, whereabouts):
                        yield RunningSuite(whereabouts, supervisor, ours)
                    log("stopping")


def _suite_state(stack: Stack, options: SuiteOptions, log_dir: Path) -> SuiteState:
    broker = stack.broker
    database = stack.database
    return SuiteState(
        owner_pid=os.getpid(),
        mode=stack.mode,
        broker=stack.broker_description,
        database=stack.database_description,
        urls=options.urls,
        control_url=f"http://{LOOPBACK}:{options.control_port}",
        control_token=options.control_token,
        management_url=broker.management_url,
        management_user=broker.user,
        management_password=broker.password,
        amqp_url=broker.amqp_url,
        archive_url=archive_url(options, stack),
        database_url=database.url,
        callback_secrets=(options.callback_secret,),
        broker_pid=broker.pid,
        database_pid=database.pid,
        data_dir=str(stack.data_dir),
        logs=str(log_dir),
    )
