"""Monitor that takes a snapshot of the suite once a second: database, broker, memory and metrics of the services."""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import asyncpg
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPException

from prebook.flows import SERVICES
from prebook.lab import process_tree
from prebook.lab.burst import backlog
from prebook.lab.burst.backlog import Backlog
from prebook.lab.burst.model import MEMORY_INTERVAL_S, SNAPSHOT_INTERVAL_S, SuiteSnapshot
from prebook.lab.faults.broker_channel import open_admin_channel
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import NoEffect
from prebook.lab.load.generator import ClockOrigin
from prebook.lab.suite_client.broker_management import BrokerManagementError
from prebook.lab.suite_client.database import DatabaseUnreadable, connect
from prebook.lab.suite_client.supervisor import SupervisorError

METRICS_TIMEOUT = aiohttp.ClientTimeout(total=0.8)
QUEUE_TIMEOUT_S = 0.8
FINAL_TIMEOUT_S = 10.0
INTERNAL_QUEUE_PREFIX = "prebook."
"""Name prefix of the queues for delays, parking and the archive, whose messages are no backlog."""
UTILIZATION_LINE = re.compile(r'^prebook_load_ratio\{load="([^"]+)"\} (\S+)$', re.MULTILINE)
REFUSED_PUBLISHES_LINE = re.compile(
    r'^prebook_messages_send_failed_total\{coupling="(?:one_way|request_reply)"[^}]*\} (\S+)$', re.MULTILINE
)
READ_ERRORS = (
    *(aiohttp.ClientError, OSError, TimeoutError, AMQPException, NoEffect),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, SupervisorError, BrokerManagementError, DatabaseUnreadable),
)
"""Errors after which a value is null in a snapshot: a suite under load may be slow to respond."""
T = TypeVar("T")


@dataclass
class SuiteMonitor:
    """Takes a snapshot every SNAPSHOT_INTERVAL_S seconds from ``origin`` on.

    ``database_url``: an administrator's URL; if empty, snapshots have no backlog.
    """

    fault_access: FaultAccess
    database_url: str = field(repr=False)
    origin: ClockOrigin
    snapshots: list[SuiteSnapshot] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _database: Any = None
    _depths_task: "asyncio.Task[dict[str, int]] | None" = None
    _channel: AbstractChannel | None = None
    _queues: tuple[str, ...] = ()
    _roots: Mapping[str, int] = field(default_factory=dict)
    _next_memory_read_s: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Take snapshots until ``stopped`` is set.

        Do not cancel it instead: an abandoned request closes the broker channel.
        """
        async with AsyncExitStack() as stack:
            await self._open(stack)
            index = 0
            while not self.stopped.is_set():
                await self.origin.wait_until(index * SNAPSHOT_INTERVAL_S)
                self.snapshots.append(await self._take_snapshot())
                index = max(index + 1, math.ceil(self._now() / SNAPSHOT_INTERVAL_S))
            if self._depths_task:
                await asyncio.wait({self._depths_task}, timeout=FINAL_TIMEOUT_S)

    def _now(self) -> float:
        """Return the seconds since the first intended arrival."""
        return asyncio.get_running_loop().time() - self.origin.monotonic

    async def _open(self, stack: AsyncExitStack) -> None:
        with suppress(*READ_ERRORS):
            self._roots = await read_pids(self.fault_access)
        with suppress(*READ_ERRORS):
            self._queues = await list_queues(self.fault_access)
            self._channel = await stack.enter_async_context(open_admin_channel(self.fault_access))
        with suppress(*READ_ERRORS):
            if self.database_url:
                self._database = await stack.enter_async_context(connect(self.database_url))

    async def _take_snapshot(self) -> SuiteSnapshot:
        at_s = self._now()
        backlog_now, depths, metrics, memory_mb = await asyncio.gather(
            read_or_none(self._read_backlog),
            read_or_none(self._read_depths),
            read_or_none(self._fetch_metrics),
            asyncio.to_thread(process_tree.read_pss_mb, self._due_processes(at_s)),
        )
        pages = metrics or {}
        return SuiteSnapshot(
            at_s=round(at_s, 2),
            outbox_rows=backlog_now.outbox_rows if backlog_now else None,
            outbox_oldest_s=round(backlog_now.outbox_oldest_s, 2) if backlog_now else None,
            oldest_outbox=backlog_now.oldest_outbox if backlog_now else "",
            pending_requests=backlog_now.pending_requests if backlog_now else None,
            pending_oldest_s=round(backlog_now.pending_oldest_s, 2) if backlog_now else None,
            queued=sum(depths.values()) if depths is not None else None,
            longest_queue=max(depths, key=lambda name: depths[name]) if depths and any(depths.values()) else "",
            memory_mb=memory_mb,
            utilization={name: float(share) for name, share in UTILIZATION_LINE.findall(pages.get("booking", ""))},
            refused_publishes=total_refused_publishes(pages),
        )

    def _due_processes(self, at_s: float) -> dict[str, int]:
        """Return the processes whose memory is read in the snapshot at ``at_s``, and schedule their next reading."""
        due = {name: pid for name, pid in self._roots.items() if at_s >= self._next_memory_read_s.get(name, -math.inf)}
        # Half an interval less, so that a snapshot that comes slightly early still reads the memory.
        self._next_memory_read_s |= {
            name: at_s + MEMORY_INTERVAL_S[name] - SNAPSHOT_INTERVAL_S / 2 for name in due if name in MEMORY_INTERVAL_S
        }
        return due

    async def _read_backlog(self) -> Backlog | None:
        return await backlog.read_backlog(self._database) if self._database else None

    async def _read_depths(self) -> dict[str, int] | None:
        """Return the messages in each queue, or None while a reply of the broker is outstanding.

        While it is outstanding no second request is sent, which would only wait behind the first on the same channel.
        """
        if self._channel is None:
            return None
        self._depths_task = self._depths_task or asyncio.create_task(self._read_queue_lengths(self._channel))
        done, _ = await asyncio.wait({self._depths_task}, timeout=QUEUE_TIMEOUT_S)
        if not done:
            return None
        finished = self._depths_task
        self._depths_task = None
        return finished.result()

    async def _read_queue_lengths(self, channel: AbstractChannel) -> dict[str, int]:
        """Return exact lengths by passive declarations; the counters of the management API lag by seconds."""
        declared = [await channel.declare_queue(name, passive=True) for name in self._queues]
        return {queue.name: queue.declaration_result.message_count or 0 for queue in declared}

    async def _fetch_metrics(self) -> dict[str, str]:
        names = [name for name in SERVICES if name in self.fault_access.addresses.internal]
        pages = await asyncio.gather(*(read_or_none(lambda name=name: self._fetch_page(name)) for name in names))  # type: ignore[misc]
        return {name: page for name, page in zip(names, pages, strict=True) if page}

    async def _fetch_page(self, service: str) -> str:
        url = f"{self.fault_access.addresses.internal[service]}/metrics"
        async with self.fault_access.session.get(url, timeout=METRICS_TIMEOUT) as response:
            return await response.text()


async def read_or_none(read: Callable[[], Awaitable[T]]) -> T | None:
    """Return the result of ``read``, or None after one of READ_ERRORS."""
    try:
        return await read()
    except READ_ERRORS:
        return None


def total_refused_publishes(pages: Mapping[str, str]) -> int | None:
    """Return the refused publishes on the /metrics pages of all services; None if a page is missing.

    A sum without one service would look like a decrease of the counter.
    """
    if len(pages) < len(SERVICES):
        return None
    return round(sum(float(value) for page in pages.values() for value in REFUSED_PUBLISHES_LINE.findall(page)))


async def read_pids(fault_access: FaultAccess) -> dict[str, int]:
    """Return the process id of each process and server that the supervisor runs.

    Raises:
        SupervisorError: There is no supervisor, or it cannot be reached.
    """
    supervisor = fault_access.supervisor()
    pids = {process.name: process.pid for process in await supervisor.list_processes()}
    pids |= {server.name: server.pid for server in await supervisor.list_servers()}
    return {name: pid for name, pid in pids.items() if pid}


async def list_queues(fault_access: FaultAccess) -> tuple[str, ...]:
    """Return the names of the shared queues of the suite, without internal ones.

    Raises:
        BrokerManagementError: The management API cannot be reached or refuses.
    """
    queues = await fault_access.broker.get("queues", fault_access.vhost)
    return tuple(
        sorted(
            queue["name"]
            for queue in queues
            if not queue["name"].startswith(INTERNAL_QUEUE_PREFIX) and not queue["exclusive"]
        )
    )
