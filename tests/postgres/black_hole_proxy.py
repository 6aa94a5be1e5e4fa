"""A proxy in front of the database that can drop all bytes, like a black-holed network link."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from prebook.postgres.engine import BACKGROUND_POOL_SIZE, Engines, create_engine


@dataclass
class BlackHoleProxy:
    """Proxy to the database's socket that drops the bytes of both directions while ``is_dropping``.

    ``heal`` resets the connections that lost bytes. ``drop_at``: bytes at which it starts to drop.
    """

    socket: str
    is_dropping: bool = False
    drop_at: bytes | None = None
    lost: list[asyncio.StreamWriter] = field(default_factory=list)
    pumps: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self.socket)
        for pump in (
            self.pump(reader, server_writer, writer),
            self.pump(server_reader, writer, server_writer),
        ):
            self.pumps.add(asyncio.create_task(pump))

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                self.is_dropping |= self.drop_at is not None and self.drop_at in data
                if self.is_dropping:
                    self.lost += [sink, other]
                else:
                    sink.write(data)
        finally:
            sink.close()

    def heal(self) -> None:
        """Forward bytes again, and reset the connections that lost some."""
        self.is_dropping = False
        self.drop_at = None
        for writer in self.lost:
            writer.transport.abort()


@asynccontextmanager
async def open_engines(url: str) -> AsyncIterator[tuple[Engines, BlackHoleProxy]]:
    """Open the engines of a service through a black-hole proxy in front of the database at ``url``."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    proxy = BlackHoleProxy(f"{folder}/.s.PGSQL.5432")
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxied_url = f"{parts.scheme}://{parts.username}@127.0.0.1:{port}{parts.path}"
    engines = Engines(*(create_engine("pricing", proxied_url, pool_size=BACKGROUND_POOL_SIZE) for _ in Engines._fields))
    try:
        yield engines, proxy
    finally:
        proxy.heal()
        await engines.dispose()
        server.close()
        for pump in proxy.pumps:
            pump.cancel()
        await asyncio.gather(*proxy.pumps, return_exceptions=True)
