"""What subjects and baselines run on: a broker and a database of their own, and processes beside us."""

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
from prebook.devstack.service_environment import SuiteOptions
from prebook.devstack.stack import Stack
from prebook.flows import PROCESSES
from prebook.messaging.addresses import VHOST
from prebook.postgres.dsn import asyncpg_dsn

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 12.0
POLL_INTERVAL_S = 0.05


@dataclass(frozen=True)
class BenchTestbed:
    """``envs`` are the services' own environments, with their own users and roles; the URLs an administrator's."""

    stack: Stack
    envs: Mapping[str, Mapping[str, str]]
    urls: Mapping[str, str]
    folder: Path

    @property
    def dsn(self) -> str:
        return asyncpg_dsn(self.stack.database.url)

    @property
    def amqp_url(self) -> str:
        """In the suite's virtual host."""
        url = self.stack.broker.amqp_url
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}/{VHOST}"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def run_module(
        self, *args: str, env: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> AsyncIterator["ModuleProcess"]:
        """``python -m args`` in a process of its own, ended with the block."""
        log = self.folder / f"{'-'.join((args[0].rpartition('.')[2], *args[1:]))}.log"
        command = Command(args=(python, "-m", *args), env={**os.environ, **(env or {})}, log_file=log)
        child = await spawn(command)
        try:
            yield ModuleProcess(command, child.pid)
        finally:
            await child.stop(STOP_TIMEOUT_S)


@dataclass(frozen=True)
class ModuleProcess:
    command: Command
    pid: int

    async def wait_for_output(self, text: str) -> None:
        """Wait for it in the process's output. Raises UserError."""

        async def heard() -> bool:
            return text in self.command.log_tail()

        try:
            await wait_until(heard, READY_TIMEOUT_S)
        except TimeoutError:
            raise UserError(
                f"{self.command.args[2]} was not ready within {READY_TIMEOUT_S:g} s: {self.command.log_tail()}",
                f"read {self.command.log_file}",
            ) from None


async def is_ready(url: str) -> bool:
    """Whether the service behind ``url`` says so."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{url}/readyz") as answer:
                return answer.ok
        except aiohttp.ClientError:
            return False


async def wait_until(
    condition: Callable[[], Awaitable[bool]], timeout_s: float, interval_s: float = POLL_INTERVAL_S
) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(interval_s)


@asynccontextmanager
async def start_testbed(log: Log) -> AsyncIterator[BenchTestbed]:
    """A stack set up as for the suite, with no service running on it. Raises UserError."""
    options = SuiteOptions(ports=allocate_ports(len(PROCESSES) + 1), log_level="warning")
    async with prepare_stack(log, options, "bench") as prepared:
        yield BenchTestbed(prepared.stack, prepared.service_environments, options.urls, prepared.directory)
