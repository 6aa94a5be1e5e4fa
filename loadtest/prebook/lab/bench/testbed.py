"""Testbed of subjects and baselines: a temporary broker and database, and processes started on them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg

from prebook.devstack.child_process import Command, spawn
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.prepared_stack import prepare_stack
from prebook.devstack.servers import Log
from prebook.devstack.service_environment import SuiteOptions, count_ports
from prebook.devstack.stack import Stack
from prebook.messaging.addresses import VHOST
from prebook.postgres.dsn import asyncpg_dsn

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 12.0
POLL_INTERVAL_S = 0.05
BUG_REMEDY = "this is a bug: open an issue with this output"
"""Remedy where a side worked incorrectly. The logs of the testbed are removed with it."""


@dataclass(frozen=True)
class BenchTestbed:
    """Broker and database with topology and schemas of the suite, without a running service."""

    stack: Stack
    """Broker and database; their URLs are an administrator's."""
    envs: Mapping[str, Mapping[str, str]]
    """Environment of each service, with its own users and roles."""
    urls: Mapping[str, str]
    """Base URL of each service."""
    folder: Path
    """Folder for logs and temporary files."""

    @property
    def dsn(self) -> str:
        """The administrator's URL of the database, in the form that asyncpg reads."""
        return asyncpg_dsn(self.stack.database.url)

    @property
    def amqp_url(self) -> str:
        """The administrator's URL of the broker, with the virtual host of the suite."""
        url = self.stack.broker.amqp_url
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}/{VHOST}"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """Open an administrator's connection for the block."""
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def run_module(
        self, *args: str, env: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> AsyncIterator["ModuleProcess"]:
        """Run ``python -m args`` as a child process until the block ends, with its output in a log file."""
        log = self.folder / f"{'-'.join((args[0].rpartition('.')[2], *args[1:]))}.log"
        command = Command(args=(python, "-m", *args), env={**os.environ, **(env or {})}, log_file=log)
        child = await spawn(command)
        try:
            yield ModuleProcess(command, child.pid)
        finally:
            await child.stop(STOP_TIMEOUT_S)


@dataclass(frozen=True)
class ModuleProcess:
    """Child process that runs a module."""

    command: Command
    pid: int

    async def wait_for_output(self, text: str) -> None:
        """Wait until the process has printed ``text``.

        Raises:
            UserError: It has not within READY_TIMEOUT_S seconds.
        """

        async def is_printed() -> bool:
            return text in self.command.log_tail()

        try:
            await wait_until(is_printed, READY_TIMEOUT_S)
        except TimeoutError:
            raise UserError(
                f"{self.command.args[2]} was not ready within {READY_TIMEOUT_S:g} s: {self.command.log_tail()}",
                "try again while the machine is less busy",
            ) from None


async def is_ready(url: str) -> bool:
    """Return whether the service at the base URL ``url`` reports that it is ready."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{url}/readyz") as response:
                return response.ok
        except aiohttp.ClientError:
            return False


async def wait_until(
    condition: Callable[[], Awaitable[bool]], timeout_s: float, interval_s: float = POLL_INTERVAL_S
) -> None:
    """Poll ``condition`` every ``interval_s`` seconds until it is true.

    Raises:
        TimeoutError: It is not true within ``timeout_s`` seconds.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(interval_s)


@asynccontextmanager
async def start_testbed(log: Log) -> AsyncIterator[BenchTestbed]:
    """Start broker and database as for a suite, without services, until the block ends.

    Raises:
        UserError: They did not start.
    """
    options = SuiteOptions(ports=allocate_ports(count_ports()), log_level="warning")
    async with prepare_stack(log, options, "bench") as prepared:
        yield BenchTestbed(prepared.stack, prepared.service_environments, options.urls, prepared.directory)
