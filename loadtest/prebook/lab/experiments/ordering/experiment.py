"""The same load on each arrangement: some messages fail at first, one consumer is killed, and order is counted."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import asyncpg
import msgspec

from prebook.devstack.child_process import tail
from prebook.devstack.errors import Trouble
from prebook.devstack.polling import until
from prebook.devstack.servers import Say
from prebook.lab.experiments.exactly_once.experiment import Bench, counting
from prebook.lab.experiments.ordering import consumer
from prebook.lab.experiments.ordering.consumer import READY, SERVICE, Part
from prebook.lab.experiments.ordering.publisher import said
from prebook.lab.experiments.ordering.strategies import Arrangement, Effect, Load, counted, sharing, standing_still

COLUMNS = "run text, key text, place int, at timestamptz NOT NULL DEFAULT clock_timestamp()"
TABLES = (
    f"CREATE TABLE {SERVICE}.applied (nr bigint GENERATED ALWAYS AS IDENTITY, {COLUMNS})",
    f"CREATE TABLE {SERVICE}.failed ({COLUMNS})",
)
APPLIED = f"SELECT key, place, at FROM {SERVICE}.applied WHERE run = $1 ORDER BY nr"  # noqa: S608 - a schema
FAILED = f"SELECT key, place, min(at) AS at FROM {SERVICE}.failed WHERE run = $1 GROUP BY key, place"  # noqa: S608 - a schema
COUNT = f"SELECT count(*) FROM {SERVICE}.applied WHERE run = $1"  # noqa: S608 - a schema
KILL_AT, STARTED_WITHIN_S = 0.3, 30.0
Condition = Callable[[], Awaitable[bool]]
AGAIN = "nothing can be concluded from this run: try again while the machine has less to do"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """``deliveries`` counts what reached a handler; ``killed_after`` how many effects there were then.

    ``stood_still`` is the mean of other keys that did nothing while one waited for its retry, ``sharing`` that of the
    other keys of its partition.
    """

    arrangement: Arrangement
    round: int
    messages: int
    failed: int
    deliveries: int
    killed_after: int
    violations: int
    lost: int
    doubled: int
    stood_still: float
    sharing: float
    seconds: float
    per_s: float


async def rounds(bench: Bench, url: str, load: Load, count: int, say: Say) -> list[Round]:
    """The arrangements in turn, ``count`` times. ``url``: the broker, for somebody who may read and write all of it.

    Raises Trouble.
    """
    found = []
    async with counting(bench.database_url) as database:
        for table in TABLES:
            await database.execute(table)
        for number in range(1, count + 1):
            for arrangement in Arrangement:
                say(f"round {number} of {count}: {arrangement.replace('_', ' ')}")
                found.append(await _Run(bench, url, load, arrangement, number).measured(database))
    return found


class _Run:
    def __init__(self, bench: Bench, url: str, load: Load, arrangement: Arrangement, number: int) -> None:
        self._bench, self._url, self._load, self._arrangement, self._number = bench, url, load, arrangement, number
        self._name = f"{arrangement}-{number}"
        self._files = [bench.folder / f"{self._name}-{n}" for n in range(load.consumers)]

    async def measured(self, database: asyncpg.Connection) -> Round:
        async with self._consumers() as consumers:
            await self._until(self._ready, STARTED_WITHIN_S, "every consumer")
            saying = asyncio.create_task(said(self._url, self._arrangement, self._load, self._name))
            killed_after = await self._reached(database, round(self._load.messages * KILL_AT))
            consumers[0].kill()
            consumers[0].join()
            await saying
            await self._reached(database, self._load.messages)
        return await self._round(database, saying.result(), killed_after)

    @asynccontextmanager
    async def _consumers(self) -> AsyncIterator[list[ForkServerProcess]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "prebook.lab.experiments.ordering.consumer"])
        parts = [self._part(number) for number in range(self._load.consumers)]
        processes = [context.Process(target=consumer.live, args=(part,), daemon=True) for part in parts]
        try:
            for process in processes:
                process.start()
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.join()

    def _part(self, number: int) -> Part:
        file = self._files[number]
        return Part(
            arrangement=self._arrangement,
            load=self._load,
            run=self._name,
            number=number,
            url=self._url,
            env=self._bench.envs[SERVICE],
            notes=f"{file}.notes",
            log=f"{file}.log",
        )

    async def _ready(self) -> bool:
        return all(READY in self._notes(number) for number in range(self._load.consumers))

    def _notes(self, number: int) -> list[str]:
        path = Path(f"{self._files[number]}.notes")
        return path.read_text().splitlines() if path.exists() else []

    async def _reached(self, database: asyncpg.Connection, wanted: int) -> int:
        count = 0

        async def reached() -> bool:
            nonlocal count
            count = await database.fetchval(COUNT, self._name)
            return bool(count >= wanted)

        await self._until(reached, self._load.within_s, f"the effect of {wanted} messages")
        return count

    async def _until(self, condition: Condition, within_s: float, what: str) -> None:
        try:
            await until(condition, within_s, what=f"{self._name}: {what}", remedy=AGAIN)
        except Trouble as trouble:
            logs = (Path(f"{file}.log") for file in self._files)
            words = " / ".join(tail(log).strip() for log in logs if log.exists())
            raise Trouble(f"{trouble.problem}. Last words: {words or '(none)'}", AGAIN) from None

    async def _round(self, database: asyncpg.Connection, began: float, killed_after: int) -> Round:
        rows = await database.fetch(APPLIED, self._name)
        effects = [Effect(row["key"], row["place"], row["at"].timestamp()) for row in rows]
        failed = {(row["key"], row["place"]): row["at"].timestamp() for row in await database.fetch(FAILED, self._name)}
        counts, seconds = counted(self._load, effects), effects[-1].at_s - began
        return Round(
            arrangement=self._arrangement,
            round=self._number,
            messages=self._load.messages,
            failed=len(failed),
            deliveries=sum(len(self._notes(number)) - 1 for number in range(self._load.consumers)),
            killed_after=killed_after,
            violations=counts.violations,
            lost=counts.lost,
            doubled=counts.doubled,
            stood_still=round(standing_still(self._load, effects, failed), 1),
            sharing=round(sharing(self._load, failed, self._arrangement), 1),
            seconds=round(seconds, 2),
            per_s=round(self._load.messages / seconds, 1),
        )
