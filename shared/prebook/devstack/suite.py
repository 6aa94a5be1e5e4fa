"""A whole suite on this machine: servers, set-up, services and their supervisor, all stopped at the end."""

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
from prebook.devstack.service_environment import (
    SuiteOptions,
    process_specs,
    proxy_upstreams,
    read_subscribers,
    reader_url,
    secrets_dir,
    write_secrets,
)
from prebook.devstack.setup import admin_access, set_up
from prebook.devstack.stack import Stack, start_stack
from prebook.devstack.suite_state import SuiteState, lock_home, write_suite_state
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api, token_digest
from prebook.devstack.supervisor.server import SupervisedServer, supervise_servers
from prebook.devstack.supervisor.supervisor import Supervisor
from prebook.messaging.addresses import ARCHIVE_READER

READY_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.5


@dataclass(frozen=True)
class RunningSuite:
    """A suite whose services are ready."""

    state: SuiteState
    supervisor: Supervisor
    servers: Mapping[str, SupervisedServer]
    """Broker nodes and database, where they are processes of this program."""

    async def wait_until_broken(self) -> UserError:
        """Wait until a server has ended or a service has failed for good, and return the error."""
        while True:
            if failure := self._failure():
                return failure
            await asyncio.sleep(POLL_INTERVAL_S)

    def _failure(self) -> UserError | None:
        for server in self.servers.values():
            if failure := server.failure():
                return failure
        if failed := self.supervisor.find_failed():
            return UserError(f"{failed.spec.name} ended: {failed.log_tail}", f"read {failed.spec.log_file}")
        return None


@asynccontextmanager
async def launch(home: Path, options: SuiteOptions, log: Log) -> AsyncIterator[RunningSuite]:
    """Run a suite, with every service ready, and stop it and remove its state file at the end. Raises UserError."""
    log_dir = home / "logs"
    with lock_home(home):
        async with start_stack(log, broker_nodes=options.broker_nodes) as stack, supervise_servers(stack) as servers:
            await set_up(admin_access(stack, options.passwords), log_dir, log)
            async with open_proxies(proxy_upstreams(options, stack)) as proxies:
                write_secrets(options, stack)
                supervisor = Supervisor(process_specs(options, stack, log_dir, proxies))
                control_app = create_control_app(supervisor, token_digest(options.control_token), servers, proxies)
                log("services: starting")
                async with supervisor.run(), serve_control_api(control_app, LOOPBACK, options.control_port):
                    await supervisor.wait_until_ready(READY_TIMEOUT_S)
                    state = _suite_state(stack, options, log_dir)
                    with write_suite_state(home, state):
                        yield RunningSuite(state, supervisor, servers)
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
        internal_urls=options.internal_urls,
        control_url=f"http://{LOOPBACK}:{options.control_port}",
        control_token=options.control_token,
        page_url=options.page_url,
        operator_token=options.keys.console_tokens[0],
        management_url=broker.management_url,
        management_user=broker.user,
        management_password=broker.password,
        amqp_url=broker.amqp_url,
        archive_url=reader_url(ARCHIVE_READER, options, stack),
        subscriber_urls={account: reader_url(account, options, stack) for account in read_subscribers()},
        database_url=database.url,
        signing_secrets=dict(options.keys.signing),
        secrets_dir=str(secrets_dir(stack)),
        broker_pid=broker.pid,
        database_pid=database.pid,
        data_dir=str(stack.data_dir),
        logs=str(log_dir),
    )
