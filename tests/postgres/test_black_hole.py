"""A database that swallows what it is told, and says nothing: nobody may wait for it without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres import engine as engines
from prebook.postgres import session as sessions
from prebook.postgres.engine import CHECK, UPKEEP, Engines, engine_for
from prebook.postgres.session import session
from tests.databases import Databases


@dataclass
class Hole:
    """A way to the database's socket, which swallows both ways while ``open``, and resets who lost something after."""

    socket: str
    open: bool = False
    lost: list[asyncio.StreamWriter] = field(default_factory=list)
    pumps: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.socket)
        for pump in (self.pump(reader, back, writer), self.pump(there, writer, back)):
            self.pumps.add(asyncio.create_task(pump))

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter) -> None:
        try:
            while told := await source.read(65536):
                if self.open:
                    self.lost += [sink, other]
                else:
                    sink.write(told)
        finally:
            sink.close()

    def mend(self) -> None:
        self.open = False
        for writer in self.lost:
            writer.transport.abort()


@asynccontextmanager
async def through_hole(url: str) -> AsyncIterator[tuple[Engines, Hole]]:
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    hole = Hole(f"{folder}/.s.PGSQL.5432")
    server = await asyncio.start_server(hole.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    through = f"{parts.scheme}://{parts.username}@127.0.0.1:{port}{parts.path}"
    made = Engines(*(engine_for("pricing", through, pool=UPKEEP) for _ in Engines._fields))
    try:
        yield made, hole
    finally:
        hole.mend()
        await made.dispose()
        server.close()
        for pump in hole.pumps:
            pump.cancel()
        await asyncio.gather(*hole.pumps, return_exceptions=True)


async def test_a_service_whose_database_has_gone_silent_is_not_ready_and_says_so_in_time(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "CHECKED_WITHIN_S", 0.2)
    monkeypatch.setattr(sessions, "GIVE_BACK_WITHIN_S", 0.2)
    async with through_hole(databases.of("pricing")) as (made, hole), asyncio.timeout(20):
        await made.check()
        hole.open = True
        for _ in range(UPKEEP + 1):
            with pytest.raises(TimeoutError):
                await made.check()
        hole.mend()
        monkeypatch.setattr(engines, "CHECKED_WITHIN_S", 10)
        await made.check()


async def test_a_connection_whose_statement_was_broken_off_is_fit_for_the_next(databases: Databases) -> None:
    engine = engine_for("pricing", databases.of("pricing"), pool=1)
    for _ in range(20):
        ask = asyncio.create_task(_asked(engine))
        await asyncio.sleep(0)
        ask.cancel()
        await asyncio.wait([ask])
    assert await _asked(engine) <= 1
    await engine.dispose()


async def _asked(engine: AsyncEngine) -> int:
    async with session(engine) as connection:
        return len(await connection.alone(CHECK))
