"""Looks at the whole suite once a second: database, broker, memory, and what services say of themselves."""

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
from prebook.lab.burst.model import EVERY_S, SELDOM_S, Second
from prebook.lab.chaos.database import TablesUnreadable, connected
from prebook.lab.faults.broker_channel import opened
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import NoEffect
from prebook.lab.load.generator import Origin
from prebook.lab.suite_client.broker_management import BrokerRefused
from prebook.lab.suite_client.supervisor import ControlRefused

PATIENCE = aiohttp.ClientTimeout(total=0.8)
QUEUE_WITHIN_S, LAST_S = 0.8, 10.0
OURS = "prebook."
"""Begins the names of queues that hold what is set aside on purpose: delays, parking, the archive."""
PRESSURE = re.compile(r'^prebook_pressure\{load="([^"]+)"\} (\S+)$', re.MULTILINE)
UNSENT = re.compile(r'^prebook_messages_unsent_total\{coupling="(?:one_way|request_reply)"[^}]*\} (\S+)$', re.MULTILINE)
BLIND = (
    *(aiohttp.ClientError, OSError, TimeoutError, AMQPException, NoEffect),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, ControlRefused, BrokerRefused, TablesUnreadable),
)
"""A suite under load may be slow to show itself: what was not seen is null in that second."""
T = TypeVar("T")


@dataclass
class Watch:
    """``database_url`` is an administrator's; empty where it is not known, and then nothing is seen of the tables."""

    levers: Levers
    database_url: str = field(repr=False)
    origin: Origin
    seconds: list[Second] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _database: Any = None
    _asking: "asyncio.Task[dict[str, int]] | None" = None
    _channel: AbstractChannel | None = None
    _queues: tuple[str, ...] = ()
    _trees: Mapping[str, int] = field(default_factory=dict)
    _next_look_s: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until ``over`` is set. Not to be cancelled: a question to the broker that is given up closes its channel."""
        async with AsyncExitStack() as stack:
            await self._open(stack)
            number = 0
            while not self.over.is_set():
                await self.origin.wait_until(number * EVERY_S)
                self.seconds.append(await self._second())
                number = max(number + 1, math.ceil(self._now() / EVERY_S))
            if self._asking:
                await asyncio.wait({self._asking}, timeout=LAST_S)

    def _now(self) -> float:
        """Seconds from the first intended arrival."""
        return asyncio.get_running_loop().time() - self.origin.monotonic

    async def _open(self, stack: AsyncExitStack) -> None:
        with suppress(*BLIND):
            self._trees = await trees(self.levers)
        with suppress(*BLIND):
            self._queues = await queues(self.levers)
            self._channel = await stack.enter_async_context(opened(self.levers))
        with suppress(*BLIND):
            if self.database_url:
                self._database = await stack.enter_async_context(connected(self.database_url))

    async def _second(self) -> Second:
        at_s = self._now()
        waits, depths, metrics, used = await asyncio.gather(
            seen(self._backlog),
            seen(self._depths),
            seen(self._metrics),
            asyncio.to_thread(process_tree.of_trees, self._due(at_s)),
        )
        pages = metrics or {}
        return Second(
            at_s=round(at_s, 2),
            outbox_rows=waits.outbox_rows if waits else None,
            outbox_oldest_s=round(waits.outbox_oldest_s, 2) if waits else None,
            oldest_in=waits.outbox_where if waits else "",
            unanswered=waits.unanswered if waits else None,
            unanswered_oldest_s=round(waits.unanswered_oldest_s, 2) if waits else None,
            queued=sum(depths.values()) if depths is not None else None,
            longest_queue=max(depths, key=lambda name: depths[name]) if depths and any(depths.values()) else "",
            memory_mb=used,
            pressure={name: float(share) for name, share in PRESSURE.findall(pages.get("booking", ""))},
            unsent=unsent(pages),
        )

    def _due(self, at_s: float) -> dict[str, int]:
        """Processes whose memory is to be looked at now."""
        due = {name: pid for name, pid in self._trees.items() if at_s >= self._next_look_s.get(name, -math.inf)}
        # Half a second less: a look that comes a little early is the one that is meant.
        self._next_look_s |= {name: at_s + SELDOM_S[name] - EVERY_S / 2 for name in due if name in SELDOM_S}
        return due

    async def _backlog(self) -> Backlog | None:
        return await backlog.look(self._database) if self._database else None

    async def _depths(self) -> dict[str, int] | None:
        """None while the broker has not answered; it is not asked again before it has."""
        if self._channel is None:
            return None
        self._asking = self._asking or asyncio.create_task(self._declared(self._channel))
        done, _ = await asyncio.wait({self._asking}, timeout=QUEUE_WITHIN_S)
        if not done:
            return None
        asked, self._asking = self._asking, None
        return asked.result()

    async def _declared(self, channel: AbstractChannel) -> dict[str, int]:
        """Exact, by passive declarations: the management API's counters lag by seconds."""
        declared = [await channel.declare_queue(name, passive=True) for name in self._queues]
        return {queue.name: queue.declaration_result.message_count or 0 for queue in declared}

    async def _metrics(self) -> dict[str, str]:
        names = [name for name in SERVICES if name in self.levers.urls]
        pages = await asyncio.gather(*(seen(lambda name=name: self._page(name)) for name in names))  # type: ignore[misc]
        return {name: page for name, page in zip(names, pages, strict=True) if page}

    async def _page(self, service: str) -> str:
        url = f"{self.levers.urls[service]}/metrics"
        async with self.levers.session.get(url, timeout=PATIENCE) as response:
            return await response.text()


async def seen(look: Callable[[], Awaitable[T]]) -> T | None:
    try:
        return await look()
    except BLIND:
        return None


def unsent(pages: Mapping[str, str]) -> int | None:
    """None where a page is missing: the sum of the others would seem to fall."""
    if len(pages) < len(SERVICES):
        return None
    return round(sum(float(value) for page in pages.values() for value in UNSENT.findall(page)))


async def trees(levers: Levers) -> dict[str, int]:
    """Process ids, where a supervisor on this machine tells them."""
    control = levers.control()
    known = {each.name: each.pid for each in await control.processes()}
    known |= {each.name: each.pid for each in await control.parts()}
    return {name: pid for name, pid in known.items() if pid}


async def queues(levers: Levers) -> tuple[str, ...]:
    listed = await levers.broker.get("queues", levers.vhost)
    return tuple(sorted(q["name"] for q in listed if not q["name"].startswith(OURS) and not q["exclusive"]))
