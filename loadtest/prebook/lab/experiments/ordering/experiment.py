"""Runner of the ordering experiment: the same load, failures and kill for each strategy."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import msgspec

from prebook.devstack.errors import UserError
from prebook.devstack.polling import wait_until
from prebook.devstack.servers import Log
from prebook.lab.experiments.forked import log_tails, start_forked
from prebook.lab.experiments.ordering import consumer
from prebook.lab.experiments.ordering.consumer import READY, SERVICE, OrderingWorkerSpec
from prebook.lab.experiments.ordering.publisher import publish_load
from prebook.lab.experiments.ordering.strategies import (
    AppliedMessage,
    OrderingLoad,
    OrderingStrategy,
    mean_partition_neighbours,
    mean_stalled_keys,
    ordering_counts,
)
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentContext, connect_as_admin

COLUMNS = "run text, key text, position int, at timestamptz NOT NULL DEFAULT clock_timestamp()"
CREATE_TABLES = (
    f"CREATE TABLE {SERVICE}.applied (nr bigint GENERATED ALWAYS AS IDENTITY, {COLUMNS})",
    f"CREATE TABLE {SERVICE}.failed ({COLUMNS})",
)
SELECT_APPLIED = f"SELECT key, position, at FROM {SERVICE}.applied WHERE run = $1 ORDER BY nr"  # noqa: S608 - a schema
SELECT_FAILED = f"SELECT key, position, min(at) AS at FROM {SERVICE}.failed WHERE run = $1 GROUP BY key, position"  # noqa: S608 - a schema
COUNT_APPLIED = f"SELECT count(*) FROM {SERVICE}.applied WHERE run = $1"  # noqa: S608 - a schema
KILL_FRACTION = 0.3
START_TIMEOUT_S = 30.0
Condition = Callable[[], Awaitable[bool]]


class OrderingRound(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one strategy in one round.

    ``deliveries`` counts messages that reached a handler, ``killed_after`` the effects at the time of the kill.
    ``stalled_keys`` is the mean number of other keys without progress while a failed message waited for its retry;
    ``partition_neighbours`` is the mean number of other keys in the partition of a failed message.
    """

    strategy: OrderingStrategy
    round: int
    messages: int
    failed: int
    deliveries: int
    killed_after: int
    violations: int
    lost: int
    duplicated: int
    stalled_keys: float
    partition_neighbours: float
    seconds: float
    messages_per_s: float


async def run_rounds(
    context: ExperimentContext, amqp_url: str, load: OrderingLoad, count: int, log: Log
) -> list[OrderingRound]:
    """Run every strategy once per round. ``amqp_url`` holds an administrator's credentials.

    Raises:
        UserError: a consumer did not start, or not all effects appeared in time.
    """
    rounds = []
    async with connect_as_admin(context.database_url) as database:
        for table in CREATE_TABLES:
            await database.execute(table)
        for number in range(1, count + 1):
            for strategy in OrderingStrategy:
                log(f"round {number} of {count}: {strategy.replace('_', ' ')}")
                rounds.append(await _Run(context, amqp_url, load, strategy, number).measure(database))
    return rounds


class _Run:
    def __init__(
        self, context: ExperimentContext, amqp_url: str, load: OrderingLoad, strategy: OrderingStrategy, number: int
    ) -> None:
        self._context = context
        self._amqp_url = amqp_url
        self._load = load
        self._strategy = strategy
        self._number = number
        self._name = f"{strategy}-{number}"
        self._file_stems = [context.work_dir / f"{self._name}-{n}" for n in range(load.consumers)]

    async def measure(self, database: asyncpg.Connection) -> OrderingRound:
        specs = [self._worker_spec(number) for number in range(self._load.consumers)]
        with start_forked(consumer.run, specs) as consumers:
            await self._wait_until(self._are_ready, START_TIMEOUT_S, "every consumer")
            publishing = asyncio.create_task(publish_load(self._amqp_url, self._strategy, self._load, self._name))
            killed_after = await self._wait_for_effects(database, round(self._load.messages * KILL_FRACTION))
            consumers[0].kill()
            consumers[0].join()
            await publishing
            await self._wait_for_effects(database, self._load.messages)
        return await self._read_result(database, publishing.result(), killed_after)

    def _worker_spec(self, number: int) -> OrderingWorkerSpec:
        file_stem = self._file_stems[number]
        return OrderingWorkerSpec(
            strategy=self._strategy,
            load=self._load,
            run=self._name,
            consumer_number=number,
            amqp_url=self._amqp_url,
            env=self._context.envs[SERVICE],
            progress_path=f"{file_stem}.progress",
            log_file=f"{file_stem}.log",
        )

    async def _are_ready(self) -> bool:
        return all(READY in self._read_progress(number) for number in range(self._load.consumers))

    def _read_progress(self, number: int) -> list[str]:
        path = Path(f"{self._file_stems[number]}.progress")
        return path.read_text().splitlines() if path.exists() else []

    async def _wait_for_effects(self, database: asyncpg.Connection, target: int) -> int:
        count = 0

        async def has_reached() -> bool:
            nonlocal count
            count = await database.fetchval(COUNT_APPLIED, self._name)
            return bool(count >= target)

        await self._wait_until(has_reached, self._load.timeout_s, f"the effects of {target} messages")
        return count

    async def _wait_until(self, condition: Condition, timeout_s: float, subject: str) -> None:
        try:
            await wait_until(condition, timeout_s, subject=f"{self._name}: {subject}", remedy=RETRY_HINT)
        except UserError as error:
            log_tail = log_tails(Path(f"{file}.log") for file in self._file_stems)
            raise UserError(f"{error.problem}. The logs end: {log_tail}", RETRY_HINT) from None

    async def _read_result(self, database: asyncpg.Connection, started_at: float, killed_after: int) -> OrderingRound:
        rows = await database.fetch(SELECT_APPLIED, self._name)
        effects = [AppliedMessage(row["key"], row["position"], row["at"].timestamp()) for row in rows]
        failed = {
            (row["key"], row["position"]): row["at"].timestamp()
            for row in await database.fetch(SELECT_FAILED, self._name)
        }
        counts = ordering_counts(self._load, effects)
        seconds = effects[-1].applied_at_s - started_at
        return OrderingRound(
            strategy=self._strategy,
            round=self._number,
            messages=self._load.messages,
            failed=len(failed),
            deliveries=sum(len(self._read_progress(number)) - 1 for number in range(self._load.consumers)),
            killed_after=killed_after,
            violations=counts.violations,
            lost=counts.lost,
            duplicated=counts.duplicated,
            stalled_keys=round(mean_stalled_keys(self._load, effects, failed), 1),
            partition_neighbours=round(mean_partition_neighbours(self._load, failed, self._strategy), 1),
            seconds=round(seconds, 2),
            messages_per_s=round(self._load.messages / seconds, 1),
        )
