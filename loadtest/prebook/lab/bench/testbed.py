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
from prebook.devstack.errors import Trouble
from prebook.devstack.filesystem import folder
from prebook.devstack.ports import free_ports
from prebook.devstack.servers import Parts, Say
from prebook.devstack.service_environment import Terms, specs
from prebook.devstack.setup import Access, set_up
from prebook.devstack.stack import parts as started
from prebook.flows import PROCESSES
from prebook.messaging.addresses import VHOST

READY_WITHIN_S, STOP_WITHIN_S, LOOK_EVERY_S = 30.0, 12.0, 0.05
GIVEN = ("PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE")


@dataclass(frozen=True)
class Ground:
    """``envs`` are the services' own environments, with their own users and roles; the URLs an administrator's."""

    parts: Parts
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
    async def beside(
        self, *args: str, env: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> AsyncIterator["Beside"]:
        """``python -m args`` in a process of its own, ended with the block."""
        log = self.folder / f"{'-'.join((args[0].rpartition('.')[2], *args[1:]))}.log"
        command = Command(args=(python, "-m", *args), env={**os.environ, **(env or {})}, log=log)
        child = await spawn(command)
        try:
            yield Beside(command, child.pid)
        finally:
            await child.stop(STOP_WITHIN_S)


@dataclass(frozen=True)
class Beside:
    command: Command
    pid: int

    async def said(self, word: str) -> None:
        """Wait for it in the process's output. Raises Trouble."""

        async def heard() -> bool:
            return word in self.command.last_words()

        try:
            await until(heard, READY_WITHIN_S)
        except TimeoutError:
            raise Trouble(
                f"{self.command.args[2]} was not ready within {READY_WITHIN_S:g} s: {self.command.last_words()}",
                f"read {self.command.log}",
            ) from None


async def ready(url: str) -> bool:
    """Whether the service behind ``url`` says so."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{url}/readyz") as answer:
                return answer.ok
        except aiohttp.ClientError:
            return False


async def until(true: Callable[[], Awaitable[bool]], within_s: float, every_s: float = LOOK_EVERY_S) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while True:
            if await true():
                return
            await asyncio.sleep(every_s)


@asynccontextmanager
async def ground(say: Say) -> AsyncIterator[Ground]:
    """Set up as for the suite, with nothing running on it. Raises Trouble."""
    async with started(say, {k: v for k, v in os.environ.items() if k not in GIVEN}) as parts:
        terms = Terms(ports=free_ports(len(PROCESSES) + 1), log_level="warning")
        place, broker = folder(parts.data_dir / "bench", None), parts.broker
        administrator = Access(
            database_url=parts.database.url,
            management_url=broker.management_url,
            management_user=broker.user,
            management_password=broker.password,
            passwords=terms.passwords,
        )
        await set_up(administrator, place, say)
        yield Ground(parts, {spec.name: spec.env for spec in specs(terms, parts, place)}, terms.urls, place)
