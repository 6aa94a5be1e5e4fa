"""One connection with one channel in confirm mode: everything that is published goes through it, pipelined."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Self

from pamqp import commands, frame
from pamqp.common import FieldTable
from yarl import URL

from prebook.messaging.channel import Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import Confirmed, Incoming, Returned
from prebook.rabbit.amqp_publisher.frame_encoder import CHANNEL, HEARTBEAT
from prebook.rabbit.amqp_publisher.unconfirmed import Pending, Unconfirmed

GREETING = b"AMQP\x00\x00\x09\x01"
LOOK_EVERY_S = 0.5
CLOSE_WITHIN_S = 1.0
SILENT_BEATS = 2
"""After so many heartbeats without a byte the peer is gone."""
Told = Callable[..., object]
PORTS = {"amqp": 5672, "amqps": 5671}
CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "basic.nack": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Session(asyncio.Protocol):
    """``await Session.opened(...)``. Not to be used again once ``lost``."""

    def __init__(self, heartbeat_s: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.close_callbacks: set[Told] = set()
        self.blocked: str | None = None
        """Why the broker takes nothing now: an alarm over memory or disk."""
        self.frame_max = 131_072
        self.unconfirmed = Unconfirmed()
        self._heartbeat_s = heartbeat_s
        self._incoming, self._answers = Incoming(), asyncio.Queue[Any]()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._heard_at = self._beat_at = self._blocked_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def opened(cls, url: str, name: str, *, heartbeat_s: int, timeout_s: float) -> Self:
        """Raises OSError, TimeoutError, or Unreachable with what the broker said."""
        place = URL(url)
        secure = ssl.create_default_context(cafile=place.query.get("cafile")) if place.scheme == "amqps" else None
        async with asyncio.timeout(timeout_s):
            _, session = await asyncio.get_running_loop().create_connection(
                lambda: cls(heartbeat_s), place.host or "127.0.0.1", place.port or PORTS[place.scheme], ssl=secure
            )
            await session.agree(place, name)
        return session

    @property
    def blocked_s(self) -> float | None:
        """For how long it has been; None: it is not."""
        return None if self.blocked is None else self._loop.time() - self._blocked_at

    def publish(self, frames: bytes, pending: Pending) -> None:
        """Written with all the others of this turn of the loop; ``pending.future`` tells what became of it."""
        if self.lost.done():
            raise Unreachable("the connection to the broker is lost")
        if self.blocked is not None:
            raise Unreachable(f"the broker takes no messages now: {self.blocked}", reason="blocked")
        self.unconfirmed.add(pending)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frames)

    async def close(self) -> None:
        if not self.lost.done():
            self._send(0, commands.Connection.Close(200, "goodbye", 0, 0))
            await asyncio.wait({self.lost}, timeout=CLOSE_WITHIN_S)
        self._drop("closed by us")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream, it is one that writes
        self._write(GREETING)
        self.look()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for told in self._incoming.feed(data):
                self._hear(told)
        except Exception as error:  # noqa: BLE001 - whatever it is, we no longer understand the broker
            self._drop(f"the broker sent what cannot be read: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._drop(str(error) if error else "the broker closed the connection")

    def _hear(self, told: Any) -> None:
        match told:
            case Confirmed():
                self.unconfirmed.settle(told)
            case Returned():
                self.unconfirmed.note(told)
            case commands.Connection.Blocked():
                self.blocked, self._blocked_at = told.reason or "an alarm", self._loop.time()
            case commands.Connection.Unblocked():
                self.blocked = None
            case commands.Connection.Close() | commands.Channel.Close():
                self._drop(f"the broker closed it: {told.reply_code} {told.reply_text}")
            case commands.Connection.CloseOk():
                self._drop("closed by us")
            case _:
                self._answers.put_nowait(told)

    async def agree(self, place: URL, name: str) -> None:
        """Handshake, channel, confirm mode. Where it fails, the connection is gone."""
        try:
            await self._agree(place, name)
        except BaseException:
            self._drop("it could not be opened")
            raise

    async def _agree(self, place: URL, name: str) -> None:
        await self._answer(commands.Connection.Start)
        told: FieldTable = {"product": "prebook", "connection_name": name, "capabilities": CAPABILITIES}
        self._send(0, commands.Connection.StartOk(told, "PLAIN", f"\0{place.user}\0{place.password}", "en_US"))
        tune = await self._answer(commands.Connection.Tune)
        self.frame_max = tune.frame_max or self.frame_max
        self._send(0, commands.Connection.TuneOk(tune.channel_max, self.frame_max, self._heartbeat_s))
        self._send(0, commands.Connection.Open(place.path[1:].replace("%2F", "/") or "/"))
        await self._answer(commands.Connection.OpenOk)
        self._send(CHANNEL, commands.Channel.Open())
        await self._answer(commands.Channel.OpenOk)
        self._send(CHANNEL, commands.Confirm.Select())
        await self._answer(commands.Confirm.SelectOk)

    async def _answer(self, wanted: type) -> Any:
        heard = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({heard, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        if not heard.done():
            heard.cancel()
            raise Unreachable(self.lost.result())
        if not isinstance(heard.result(), wanted):
            raise Unreachable(f"expected {wanted.__name__}, and the broker said {heard.result()!r}")
        return heard.result()

    def _send(self, channel: int, method: Any) -> None:
        self._write(frame.marshal(method, channel))

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._write(b"".join(out))

    def _write(self, data: bytes) -> None:
        self._beat_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def look(self) -> None:
        """Heartbeats, silence, and confirms that do not come."""
        now = self._loop.time()
        if now - self._heard_at > SILENT_BEATS * self._heartbeat_s:
            self._drop(f"nothing heard for {now - self._heard_at:.0f} s")
            return
        if now - self._beat_at >= self._heartbeat_s / 2:
            self._write(HEARTBEAT)
        self.unconfirmed.overdue(now)
        self._timer = self._loop.call_later(LOOK_EVERY_S, self.look)

    def _drop(self, why: str) -> None:
        """Over; whoever waits for a confirm is told. Does nothing twice."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self.unconfirmed.lose(f"the connection was lost before the confirm: {why}")
        for told in tuple(self.close_callbacks):
            told(self, why)
