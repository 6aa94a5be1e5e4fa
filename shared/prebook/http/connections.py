"""Connections of an HTTP server: their number, their deadlines, and the log of what was refused."""

import asyncio
import os
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, Protocol

import structlog
from uvicorn.protocols.http.flow_control import FlowControl

from prebook.http.peers import peer_of
from prebook.http.problems import Problem
from prebook.http.refusals import TOO_MANY_CONNECTIONS, TOO_MANY_PEER_CONNECTIONS

KIB = 1024
RESERVED_DESCRIPTORS = 256
"""File descriptors that HTTP connections leave to the broker, the database, calls to others, files and the runtime."""
MIN_CONNECTIONS = 16
MAX_REFUSED_CONNECTIONS = 64
"""Connections above the limit that get a response before they are closed. More are reset without one."""
LOG_INTERVAL_S = 60
NEVER = 1 << 62
"""Tick of a deadline that does not come."""
OUT_OF_DESCRIPTORS = "out_of_descriptors"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of the connections of a server, in bytes and seconds."""

    max_connections: int
    """Connections of one port, so that those of riders leave room for those of other services."""
    max_peer_connections: int | None = None
    """Connections of one peer to one port, so that one client leaves room for the others; None: no limit."""
    max_head_bytes: int = 16 * KIB
    """Request line and headers of one request."""
    max_target_bytes: int = 8 * KIB
    max_request_bytes: int = 1024 * KIB
    """One request as it is sent: head, content, chunk sizes, chunk extensions and trailers. It is above every limit of
    a body, and stops what no body limit counts.
    """
    head_timeout_s: float = 10.0
    """Time for a head, from its first byte, and for the first byte of a new connection."""
    body_timeout_s: float = 20.0
    write_timeout_s: float = 60.0
    """Time in which a client takes what waits to be written, or 48 KiB of a longer response."""
    linger_s: float = 2.0
    """Time in which the rest of a refused request is discarded, so that the client can read the response."""
    tick_s: float = 1.0
    """Precision of all timeouts."""


class HoldingFlow(FlowControl):
    """Flow control that an application cannot release while requests wait for their turn."""

    held = False

    def resume_reading(self) -> None:
        """Read on, unless requests wait for their turn."""
        if not self.held:
            super().resume_reading()


class Connection(Protocol):
    """A connection as its registry sees it."""

    port: int
    """The server's port."""
    peer: str
    """Name of the client, as ``peers.peer_of`` returns it; empty for one whose connections are not limited."""
    deadline: int
    """Tick at which ``expire`` is due."""

    @property
    def is_kept_alive(self) -> bool:
        """Whether the connection has served requests and waits for another one."""

    def expire(self) -> None:
        """Close the connection, or refuse what has not arrived in time."""

    def check_written(self) -> None:
        """Reset the connection if its client has taken nothing for too long. Called every tick."""


class ConnectionRefusal(NamedTuple):
    """Refusal of a new connection. Without a response, it is reset at once."""

    problem: Problem
    has_response: bool


class Connections:
    """The open connections of a server. One timer checks the deadlines of all of them.

    Time is counted in ticks of the event loop, so a process that was stopped or busy does not time out its clients.
    """

    def __init__(
        self,
        limits: HttpLimits,
        on_refusal: Callable[[str], None] = lambda _: None,
        *,
        is_proxy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """``on_refusal`` gets the code of each refusal, one of a small set.

        ``is_proxy``: whether an address is that of a proxy, whose connections are those of many clients.
        """
        self.limits = limits
        self.tick = 0
        self.head_ticks = self.ticks(limits.head_timeout_s)
        self.body_ticks = self.ticks(limits.body_timeout_s)
        self.linger_ticks = self.ticks(limits.linger_s)
        self._is_proxy = is_proxy
        self._on_refusal = on_refusal
        self._open: set[Connection] = set()
        self._open_by_port: Counter[int] = Counter()
        self._open_by_peer: Counter[tuple[int, str]] = Counter()
        self._repeated: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ticks(self, seconds: float) -> int:
        """Return the ticks after which ``seconds`` have passed for certain."""
        return ceil(seconds / self.limits.tick_s) + 1

    def add(self, connection: Connection, host: str) -> ConnectionRefusal | None:
        """Register a connection from the address ``host``. Returns its refusal if there are too many."""
        connection.peer = "" if self._is_proxy(host) else peer_of(host)
        if self._timer is None:
            self._schedule()
        self._open.add(connection)
        self._open_by_port[connection.port] += 1
        self._open_by_peer[connection.port, connection.peer] += 1
        return self._refuse_above_peer_limit(connection) or self._refuse_above_limit(connection)

    def discard(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._open.remove(connection)
        self._open_by_port[connection.port] -= 1
        key = (connection.port, connection.peer)
        self._open_by_peer[key] -= 1
        if not self._open_by_peer[key]:
            del self._open_by_peer[key]

    def _refuse_above_peer_limit(self, connection: Connection) -> ConnectionRefusal | None:
        limit = self.limits.max_peer_connections
        if not connection.peer or limit is None:
            return None
        excess = self._open_by_peer[connection.port, connection.peer] - limit
        if excess <= 0 or self._close_idle(connection.port, connection.peer):
            return None
        # Refused connections are open for a moment, too, and must leave room for those of others.
        max_refused = min(MAX_REFUSED_CONNECTIONS, ceil(limit / 4))
        return ConnectionRefusal(TOO_MANY_PEER_CONNECTIONS, has_response=excess <= max_refused)

    def _refuse_above_limit(self, connection: Connection) -> ConnectionRefusal | None:
        excess = self._open_by_port[connection.port] - self.limits.max_connections
        if excess <= 0 or self._close_idle(connection.port):
            return None
        return ConnectionRefusal(TOO_MANY_CONNECTIONS, has_response=excess <= MAX_REFUSED_CONNECTIONS)

    def _close_idle(self, port: int, peer: str = "") -> bool:
        """Close the connection, of ``peer`` if given, that was kept alive longest. Returns whether there was one.

        Otherwise a client could take all connections with one request for each.
        """
        idle = [each for each in self._open if each.port == port and each.is_kept_alive and peer in ("", each.peer)]
        if not idle:
            return False
        oldest = min(idle, key=lambda each: each.deadline)
        oldest.expire()
        oldest.deadline = NEVER
        return True

    def report(self, code: str) -> None:
        """Count a refusal. One log line per code tells of the first, and one per interval of the number since then."""
        self._on_refusal(code)
        if code in self._repeated:
            self._repeated[code] += 1
        else:
            self._repeated[code] = 0
            self._log(code, 1)

    def _log(self, code: str, count: int) -> None:
        log.warning("http requests refused", code=code, count=count, connections=len(self._open))

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.limits.tick_s, self._advance)

    def _advance(self) -> None:
        self._schedule()
        self.tick += 1
        for connection in tuple(self._open):
            connection.check_written()
            if connection.deadline <= self.tick:
                connection.expire()
        self._probe_descriptors()
        if self.tick % ceil(LOG_INTERVAL_S / self.limits.tick_s) == 0:
            self._log_repeated()

    def _probe_descriptors(self) -> None:
        """Report it if no file can be opened: libuv then closes new connections without an error."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            self.report(OUT_OF_DESCRIPTORS)

    def _log_repeated(self) -> None:
        repeated = {code: count for code, count in self._repeated.items() if count}
        self._repeated = dict.fromkeys(repeated, 0)
        for code, count in repeated.items():
            self._log(code, count)


def connection_limit(wanted: int, ports: int) -> int:
    """Return ``wanted``, or fewer connections for each port if the process may not open that many files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(MIN_CONNECTIONS, (files - RESERVED_DESCRIPTORS) // ports))
