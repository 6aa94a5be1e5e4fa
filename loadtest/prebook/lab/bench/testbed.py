"""What subjects and yardsticks run on: a broker and a database of their own, and processes beside us."""

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
from prebook.devstack.filesystem import make_private_dir
from prebook.devstack.ports import allocate_ports
from prebook.devstack.servers import Log, Stack
from prebook.devstack.service_environment import SuiteOptions, process_specs
from prebook.devstack.setup import AdminAccess, set_up
from prebook.devstack.stack import start_stack as started
from prebook.flows import PROCESSES
from prebook.messaging.addresses import VHOST

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 12.0
POLL_INTERVAL_S = 0.05
DATABASE_VARIABLES = ("PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE")


@dataclass(frozen=True)
class BenchTestbed:
    """``envs`` are the services' own environments, with their own users and roles; the URLs an administrator's."""

    parts: Stack
    envs: Mapping[str, Mapping[str, str]]
    urls: Mapping[str, str]
    folder: Path

    @property
    def dsn(self) -> str:
        return self.parts.database.url.replace("postgresql+asyncpg://", "postgresql://", 1)

    @property
    def amqp_url(self) -> str:
        """In the suite's virtual host."""
        url = self.parts.broker.amqp_url
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
        """Wait for it in the process's output. Raises Trouble."""

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
    """Set up as for the suite, with nothing running on it. Raises Trouble."""
    async with started(log, {k: v for k, v in os.environ.items() if k not in DATABASE_VARIABLES}) as parts:
        terms = SuiteOptions(ports=allocate_ports(len(PROCESSES) + 1), log_level="warning")
        place = make_private_dir(parts.data_dir / "bench", None)
        broker = parts.broker
        administrator = AdminAccess(
            database_url=parts.database.url,
            management_url=broker.management_url,
            management_user=broker.user,
            management_password=broker.password,
            passwords=terms.passwords,
        )
        await set_up(administrator, place, log)
        yield BenchTestbed(
            parts, {spec.name: spec.env for spec in process_specs(terms, parts, place)}, terms.urls, place
        )
