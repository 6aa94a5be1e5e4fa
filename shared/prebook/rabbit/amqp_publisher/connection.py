"""One connection with one channel in confirm mode: everything that is published goes through it, pipelined."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Self

from pamqp import commands, frame
from pamqp.common import FieldTable
from yarl import URL

from prebook.messaging.errors import Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import FrameDecoder, PublisherConfirm, ReturnedMessage
from prebook.rabbit.amqp_publisher.frame_encoder import CHANNEL_NUMBER, HEARTBEAT_FRAME
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEALTH_CHECK_INTERVAL_S = 0.5
CLOSE_TIMEOUT_S = 1.0
MAX_MISSED_HEARTBEATS = 2
"""After so many heartbeats without a byte the peer is gone."""
CloseCallback = Callable[..., object]
DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "basic.nack": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class PublisherConnection(asyncio.Protocol):
    """Open with ``await PublisherConnection.connect(...)``. Not to be used again once ``lost``."""

    def __init__(self, heartbeat_s: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.close_callbacks: set[CloseCallback] = set()
        self.blocked_reason: str | None = None
        """Why the broker takes nothing now: an alarm over memory or disk."""
        self.frame_max = 131_072
        self.unconfirmed = UnconfirmedMessages()
        self._heartbeat_s = heartbeat_s
        self._decoder, self._methods = FrameDecoder(), asyncio.Queue[Any]()
        self._unwritten: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._received_at = self._sent_at = self._blocked_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, url: str, name: str, *, heartbeat_s: int, timeout_s: float) -> Self:
        """Raises OSError, TimeoutError, or Unreachable with what the broker said."""
        place = URL(url)
        secure = ssl.create_default_context(cafile=place.query.get("cafile")) if place.scheme == "amqps" else None
        async with asyncio.timeout(timeout_s):
            _, session = await asyncio.get_running_loop().create_connection(
                lambda: cls(heartbeat_s),
                place.host or "127.0.0.1",
                place.port or DEFAULT_PORTS[place.scheme],
                ssl=secure,
            )
            await session.handshake(place, name)
        return session

    @property
    def blocked_s(self) -> float | None:
        """For how long it has been; None: it is not."""
        return None if self.blocked_reason is None else self._loop.time() - self._blocked_at

    def publish(self, frames: bytes, pending: PendingConfirm) -> None:
        """Written with all the others of this turn of the loop; ``pending.future`` tells what became of it."""
        if self.lost.done():
            raise Unreachable("the connection to the broker is lost")
        if self.blocked_reason is not None:
            raise Unreachable(f"the broker takes no messages now: {self.blocked_reason}", reason="blocked")
        self.unconfirmed.add(pending)
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(frames)

    async def close(self) -> None:
        if not self.lost.done():
            self._send(0, commands.Connection.Close(200, "goodbye", 0, 0))
            await asyncio.wait({self.lost}, timeout=CLOSE_TIMEOUT_S)
        self._abort("closed by us")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream, it is one that writes
        self._write(PROTOCOL_HEADER)
        self.check_health()

    def data_received(self, data: bytes) -> None:
        self._received_at = self._loop.time()
        try:
            for told in self._decoder.feed(data):
                self._dispatch(told)
        except Exception as error:  # noqa: BLE001 - whatever it is, we no longer understand the broker
            self._abort(f"the broker sent what cannot be read: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._abort(str(error) if error else "the broker closed the connection")

    def _dispatch(self, received: Any) -> None:
        match received:
            case PublisherConfirm():
                self.unconfirmed.settle(received)
            case ReturnedMessage():
                self.unconfirmed.mark_returned(received)
            case commands.Connection.Blocked():
                self.blocked_reason, self._blocked_at = received.reason or "an alarm", self._loop.time()
            case commands.Connection.Unblocked():
                self.blocked_reason = None
            case commands.Connection.Close() | commands.Channel.Close():
                self._abort(f"the broker closed it: {received.reply_code} {received.reply_text}")
            case commands.Connection.CloseOk():
                self._abort("closed by us")
            case _:
                self._methods.put_nowait(received)

    async def handshake(self, url: URL, name: str) -> None:
        """Handshake, channel, confirm mode. Where it fails, the connection is gone."""
        try:
            await self._open_confirm_channel(url, name)
        except BaseException:
            self._abort("it could not be opened")
            raise

    async def _open_confirm_channel(self, url: URL, name: str) -> None:
        await self._expect_method(commands.Connection.Start)
        told: FieldTable = {"product": "prebook", "connection_name": name, "capabilities": CAPABILITIES}
        self._send(0, commands.Connection.StartOk(told, "PLAIN", f"\0{url.user}\0{url.password}", "en_US"))
        tune = await self._expect_method(commands.Connection.Tune)
        self.frame_max = tune.frame_max or self.frame_max
        self._send(0, commands.Connection.TuneOk(tune.channel_max, self.frame_max, self._heartbeat_s))
        self._send(0, commands.Connection.Open(url.path[1:].replace("%2F", "/") or "/"))
        await self._expect_method(commands.Connection.OpenOk)
        self._send(CHANNEL_NUMBER, commands.Channel.Open())
        await self._expect_method(commands.Channel.OpenOk)
        self._send(CHANNEL_NUMBER, commands.Confirm.Select())
        await self._expect_method(commands.Confirm.SelectOk)

    async def _expect_method(self, expected: type) -> Any:
        heard = asyncio.ensure_future(self._methods.get())
        await asyncio.wait({heard, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        if not heard.done():
            heard.cancel()
            raise Unreachable(self.lost.result())
        if not isinstance(heard.result(), expected):
            raise Unreachable(f"expected {expected.__name__}, and the broker said {heard.result()!r}")
        return heard.result()

    def _send(self, channel: int, method: Any) -> None:
        self._write(frame.marshal(method, channel))

    def _flush(self) -> None:
        out, self._unwritten = self._unwritten, []
        self._write(b"".join(out))

    def _write(self, data: bytes) -> None:
        self._sent_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def check_health(self) -> None:
        """Heartbeats, silence, and confirms that do not come."""
        now = self._loop.time()
        if now - self._received_at > MAX_MISSED_HEARTBEATS * self._heartbeat_s:
            self._abort(f"nothing heard for {now - self._received_at:.0f} s")
            return
        if now - self._sent_at >= self._heartbeat_s / 2:
            self._write(HEARTBEAT_FRAME)
        self.unconfirmed.fail_overdue(now)
        self._timer = self._loop.call_later(HEALTH_CHECK_INTERVAL_S, self.check_health)

    def _abort(self, reason: str) -> None:
        """Over; whoever waits for a confirm is told. Does nothing twice."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self.unconfirmed.fail_all(f"the connection was lost before the confirm: {reason}")
        for told in tuple(self.close_callbacks):
            told(self, reason)
