"""Broker of a few lines: it opens connections for a publisher and then does what a test asks for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pamqp import commands, frame

OPENING_REPLIES: tuple[tuple[int, type, Any], ...] = (
    (0, commands.Connection.StartOk, commands.Connection.Tune(100, 131_072, 10)),
    (0, commands.Connection.Open, commands.Connection.OpenOk()),
    (1, commands.Channel.Open, commands.Channel.OpenOk()),
    (1, commands.Confirm.Select, commands.Confirm.SelectOk()),
)
"""Replies to the methods that open a connection: channel, method of the client, reply."""


@dataclass
class FakeConnection:
    """One connection of a client, as the broker sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _buffer: bytes = b""

    async def read_frame(self) -> Any:
        """Return the next frame. Raises asyncio.IncompleteReadError at the end of the connection."""
        head = await self.reader.readexactly(7)
        rest = await self.reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
        return frame.unmarshal(head + rest)[2]

    def send(self, method: Any, channel: int = 1) -> None:
        """Write a method; it leaves with the next turn of the loop."""
        self.writer.write(frame.marshal(method, channel))

    async def open(self) -> None:
        """Answer the methods that open a connection and its channel, the last one without waiting any further."""
        await self.reader.readexactly(8)
        self.send(commands.Connection.Start(0, 9, {}, "PLAIN", "en_US"), 0)
        for channel, method, reply in OPENING_REPLIES:
            while not isinstance(await self.read_frame(), method):
                pass
            self.send(reply, channel)


@dataclass
class FakeBroker:
    """Address of the broker, and the connections that it has accepted."""

    url: str = ""
    connections: list[FakeConnection] = field(default_factory=list)


Serve = Callable[[FakeConnection], Awaitable[None]]
"""Serves one connection, which is closed afterwards unless it is closed already."""


@asynccontextmanager
async def fake_broker(serve: Serve) -> AsyncIterator[FakeBroker]:
    """Listen for the block, and ``serve`` each connection."""
    broker = FakeBroker()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = FakeConnection(reader, writer)
        broker.connections.append(connection)
        try:
            await serve(connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        broker.url = f"amqp://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}/v"
        yield broker
