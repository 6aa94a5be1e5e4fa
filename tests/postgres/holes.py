"""A way to the database that can swallow what is said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from prebook.postgres.engine import BACKGROUND_POOL_SIZE, Engines, create_engine


@dataclass
class Hole:
    """A way to the database's socket, which swallows both ways while ``open``, and resets who lost something after.

    ``opens_at``: words that open it when somebody says them.
    """

    socket: str
    open: bool = False
    opens_at: bytes | None = None
    lost: list[asyncio.StreamWriter] = field(default_factory=list)
    pumps: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.socket)
        for pump in (self.pump(reader, back, writer), self.pump(there, writer, back)):
            self.pumps.add(asyncio.create_task(pump))

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter) -> None:
        try:
            while told := await source.read(65536):
                self.open |= self.opens_at is not None and self.opens_at in told
                if self.open:
                    self.lost += [sink, other]
                else:
                    sink.write(told)
        finally:
            sink.close()

    def mend(self) -> None:
        self.open, self.opens_at = False, None
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
    made = Engines(*(create_engine("pricing", through, pool_size=BACKGROUND_POOL_SIZE) for _ in Engines._fields))
    try:
        yield made, hole
    finally:
        hole.mend()
        await made.dispose()
        server.close()
        for pump in hole.pumps:
            pump.cancel()
        await asyncio.gather(*hole.pumps, return_exceptions=True)
