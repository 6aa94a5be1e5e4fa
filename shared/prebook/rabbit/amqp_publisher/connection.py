"""Connection with one channel in confirm mode, through which all messages are published, pipelined.

Source: AMQP 0-9-1, section 2.2.4 (connection opening) and 4.2.7 (heartbeats); RabbitMQ, "Consumer Acknowledgements and
Publisher Confirms", "Blocked Connection Notifications".
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Self

import structlog
from pamqp import commands, frame
from pamqp.common import FieldTable
from yarl import URL

from prebook.messaging.errors import Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import FrameDecoder, PublisherConfirm, ReturnedMessage
from prebook.rabbit.amqp_publisher.frame_encoder import CHANNEL_NUMBER, HEARTBEAT_FRAME
from prebook.rabbit.amqp_publisher.send_window import SendWindow
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEALTH_CHECK_INTERVAL_S = 0.5
"""Interval of the one timer that checks heartbeats and the deadlines of all unconfirmed messages."""
CLOSE_TIMEOUT_S = 1.0
MAX_MISSED_HEARTBEATS = 2
"""Heartbeat intervals without a byte after which the peer counts as gone."""
log = structlog.get_logger()
CloseCallback = Callable[..., object]
"""Called with the connection and the reason of its loss, as aio-pika's close callbacks."""
DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}
CAPABILITIES: FieldTable = {
    "publisher_confirms": True,
    "basic.nack": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class PublisherConnection(asyncio.Protocol):
    """Connection to one node. Open it with ``await PublisherConnection.connect(...)``; once ``lost``, it stays so."""

    def __init__(self, heartbeat_s: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Done with the reason once the connection is lost or closed."""
        self.close_callbacks: set[CloseCallback] = set()
        self.blocked_reason: str | None = None
        """Reason of the broker's memory or disk alarm, or None. During an alarm the broker reads no messages."""
        self.frame_max = 131_072
        """Largest frame in bytes, as negotiated with the broker."""
        self.unconfirmed = UnconfirmedMessages()
        self._window = SendWindow(self.unconfirmed)
        self._is_channel_open = False
        self._heartbeat_s = heartbeat_s
        self._decoder = FrameDecoder()
        self._methods = asyncio.Queue[Any]()
        self._unwritten: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        now = self._loop.time()
        self._received_at = now
        self._sent_at = now
        self._blocked_at = now
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, url: str, name: str, *, heartbeat_s: int, timeout_s: float) -> Self:
        """Open a connection, with TLS for ``amqps://``; ``?cafile=`` names authorities other than the system's.

        Raises:
            OSError: no connection to the host.
            TimeoutError: not open within ``timeout_s`` seconds.
            Unreachable: the broker refused it; the text has the broker's reason.
        """
        address = URL(url)
        tls = ssl.create_default_context(cafile=address.query.get("cafile")) if address.scheme == "amqps" else None
        async with asyncio.timeout(timeout_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: cls(heartbeat_s),
                address.host or "127.0.0.1",
                address.port or DEFAULT_PORTS[address.scheme],
                ssl=tls,
            )
            await connection.handshake(address, name)
        return connection

    @property
    def is_closed(self) -> bool:
        """Whether the connection is lost or closed."""
        return self.lost.done()

    @property
    def blocked_s(self) -> float | None:
        """Seconds since the broker blocked the connection, or None."""
        return None if self.blocked_reason is None else self._loop.time() - self._blocked_at

    def publish(self, frames: bytes, pending: PendingConfirm) -> None:
        """Write the frames together with all others of this turn of the loop.

        ``pending.future`` gets the result: None, Undeliverable or Unreachable. Raises Unreachable at once for a
        connection that is lost or blocked.
        """
        if self.lost.done():
            raise Unreachable("the connection to the broker is lost")
        if self.blocked_reason is not None:
            raise Unreachable(f"the broker has blocked the connection: {self.blocked_reason}", reason="blocked")
        pending.frames = frames
        if self._window.is_limited:
            self._window.append(pending)
            self._write_ready()
        else:
            self.unconfirmed.add(pending)
            self._buffer(frames)

    async def close(self) -> None:
        """Close the connection, waiting up to ``CLOSE_TIMEOUT_S`` seconds for the broker."""
        if not self.lost.done():
            self._send(0, commands.Connection.Close(200, "goodbye", 0, 0))
            await asyncio.wait({self.lost}, timeout=CLOSE_TIMEOUT_S)
        self._abort("closed by us")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]  # the transport of a stream can write
        self._write(PROTOCOL_HEADER)
        self.check_health()

    def data_received(self, data: bytes) -> None:
        """Implement asyncio.Protocol."""
        self._received_at = self._loop.time()
        try:
            for received in self._decoder.feed(data):
                self._dispatch(received)
        except Exception as error:  # noqa: BLE001 - after any error the position in the stream of frames is lost
            self._abort(f"the broker sent an unreadable frame: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Implement asyncio.Protocol."""
        self._abort(str(error) if error else "the broker closed the connection")

    def _dispatch(self, received: Any) -> None:
        match received:
            case PublisherConfirm():
                self._settle(received)
            case ReturnedMessage():
                self.unconfirmed.mark_returned(received)
            case commands.Connection.Blocked():
                self.blocked_reason = received.reason or "an alarm"
                self._blocked_at = self._loop.time()
            case commands.Connection.Unblocked():
                self.blocked_reason = None
            case commands.Connection.Close():
                self._abort(f"the broker closed the connection: {received.reply_code} {received.reply_text}")
            case commands.Channel.Close():
                self._reopen_channel(f"{received.reply_code} {received.reply_text}")
            case commands.Channel.OpenOk() | commands.Confirm.SelectOk() if self._window.is_limited:
                self._is_channel_open = isinstance(received, commands.Confirm.SelectOk)
                self._write_ready()
            case commands.Connection.CloseOk():
                self._abort("closed by us")
            case _:
                self._methods.put_nowait(received)

    def _settle(self, confirm: PublisherConfirm) -> None:
        self.unconfirmed.settle(confirm)
        if self._window.is_limited:
            self._window.grow()
            self._write_ready()

    async def handshake(self, url: URL, name: str) -> None:
        """Log in and open the channel in confirm mode. A failure, or a cancellation, aborts the connection."""
        try:
            await self._open_confirm_channel(url, name)
        except BaseException:
            self._abort("the connection could not be opened")
            raise

    async def _open_confirm_channel(self, url: URL, name: str) -> None:
        await self._expect_method(commands.Connection.Start)
        properties: FieldTable = {"product": "prebook", "connection_name": name, "capabilities": CAPABILITIES}
        self._send(0, commands.Connection.StartOk(properties, "PLAIN", f"\0{url.user}\0{url.password}", "en_US"))
        tune = await self._expect_method(commands.Connection.Tune)
        self.frame_max = tune.frame_max or self.frame_max
        self._send(0, commands.Connection.TuneOk(tune.channel_max, self.frame_max, self._heartbeat_s))
        self._send(0, commands.Connection.Open(url.path[1:].replace("%2F", "/") or "/"))
        await self._expect_method(commands.Connection.OpenOk)
        self._send(CHANNEL_NUMBER, commands.Channel.Open())
        await self._expect_method(commands.Channel.OpenOk)
        self._send(CHANNEL_NUMBER, commands.Confirm.Select())
        await self._expect_method(commands.Confirm.SelectOk)
        self._is_channel_open = True

    def _reopen_channel(self, reason: str) -> None:
        """Open the channel again after an error of the broker, and search for the message that caused it."""
        if not self._is_channel_open:
            self._abort(f"the broker closed the channel: {reason}")
            return
        self._is_channel_open = False
        self._unwritten.clear()
        offender = self._window.close(reason)
        log.warning(
            "broker closed the publishing channel",
            reason=reason,
            refused_message_id=offender.message_id if offender else "",
            refused_address=f"{offender.exchange} {offender.key!r}" if offender else "",
        )
        for method in (commands.Channel.CloseOk(), commands.Channel.Open(), commands.Confirm.Select()):
            self._send(CHANNEL_NUMBER, method)

    def _write_ready(self) -> None:
        """Write the messages whose place on the channel is free."""
        if self._is_channel_open:
            for pending in self._window.take_ready():
                self._buffer(pending.frames)

    async def _expect_method(self, expected: type) -> Any:
        received = asyncio.ensure_future(self._methods.get())
        try:
            await asyncio.wait({received, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            received.cancel()  # without effect on a method that has arrived
        # Both are done if the broker's last method and the end of its connection arrive in one turn of the loop.
        if self.lost.done():
            raise Unreachable(self.lost.result())
        if not isinstance(received.result(), expected):
            raise Unreachable(f"expected {expected.__name__}, but the broker sent {received.result()!r}")
        return received.result()

    def _send(self, channel: int, method: Any) -> None:
        self._write(frame.marshal(method, channel))

    def _buffer(self, frames: bytes) -> None:
        """Write the frames together with all others of this turn of the loop."""
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(frames)

    def _flush(self) -> None:
        frames = b"".join(self._unwritten)
        self._unwritten.clear()
        self._write(frames)

    def _write(self, data: bytes) -> None:
        self._sent_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def check_health(self) -> None:
        """Send a heartbeat if one is due, fail overdue messages, and abort the connection of an unresponsive peer."""
        now = self._loop.time()
        if now - self._received_at > MAX_MISSED_HEARTBEATS * self._heartbeat_s:
            self._abort(f"no byte from the broker for {now - self._received_at:.0f} s")
            return
        if now - self._sent_at >= self._heartbeat_s / 2:
            self._write(HEARTBEAT_FRAME)
        self.unconfirmed.fail_overdue(now)
        self._window.fail_overdue(now)
        self._timer = self._loop.call_later(HEALTH_CHECK_INTERVAL_S, self.check_health)

    def _abort(self, reason: str) -> None:
        """End the connection and fail all unconfirmed messages. A second call does nothing."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        for unsettled in (self.unconfirmed, self._window):
            unsettled.fail_all(f"the connection was lost before the confirm: {reason}")
        for callback in tuple(self.close_callbacks):
            callback(self, reason)
