"""One queue with its consumer process, and the times that the process recorded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from prebook.devstack.errors import UserError
from prebook.devstack.polling import wait_until
from prebook.lab.background import run_in_background
from prebook.lab.experiments.forked import log_tails, start_forked, wait_for_exit
from prebook.lab.experiments.poison import consumer
from prebook.lab.experiments.poison.consumer import READY, SERVICE, PoisonWorkerSpec
from prebook.lab.experiments.poison.messages import MEASURED, POISON
from prebook.lab.experiments.poison.model import PoisonLoad
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentContext

CREATE_TABLE = f"CREATE TABLE {SERVICE}.handled (run text, message text)"
COUNT_HANDLED = f"""
    SELECT message, count(*) AS effects FROM {SERVICE}.handled
    WHERE run = $1 AND message LIKE '{MEASURED}-%' GROUP BY message"""  # noqa: S608 - constants
START_TIMEOUT_S = 20.0


class ConsumerProcess:
    """One side of a run. ``scheduled_at_s`` maps each message to its intended sending time, set by the publisher."""

    def __init__(
        self, context: ExperimentContext, amqp_url: str, load: PoisonLoad, run: str, queue: str, *, crashes: bool
    ) -> None:
        """``crashes``: the poison message ends the process, which is then started again."""
        self.run = run
        self.queue = queue
        self.scheduled_at_s = dict[str, float]()
        self._load = load
        file_stem = context.work_dir / f"poison-{run}"
        self._spec = PoisonWorkerSpec(
            load=load,
            run=run,
            queue=queue,
            amqp_url=amqp_url,
            env=context.envs[SERVICE],
            progress_path=f"{file_stem}.progress",
            log_file=f"{file_stem}.log",
            crashes=crashes,
        )

    @asynccontextmanager
    async def run_consumer(self) -> AsyncIterator[None]:
        """Run the consumer process while the block runs, which starts once it is ready. Raises UserError."""
        async with run_in_background(self._keep_running()):
            await self._wait_until(self._is_ready, START_TIMEOUT_S, "the consumer")
            yield

    async def _keep_running(self) -> None:
        while True:
            with start_forked(consumer.run, [self._spec]) as (process,):
                await wait_for_exit(process)
            if not self._spec.crashes:  # it has failed: what it should have done is missed, with the end of its log
                await asyncio.Event().wait()

    async def wait_until_handled(self) -> None:
        """Wait until all measured messages are handled. Raises UserError."""

        async def all_handled() -> bool:
            return len(self._read_handled_at_s()) >= self._load.messages

        await self.wait_until(all_handled, "the effects of all other messages")

    async def read_effects(self, database: asyncpg.Connection) -> Mapping[str, int]:
        """Return measured message -> number of effects."""
        return {row["message"]: row["effects"] for row in await database.fetch(COUNT_HANDLED, self.run)}

    def read_latencies_s(self) -> list[float]:
        """Return the latencies of measured messages, in seconds from their intended sending time."""
        return [at_s - self.scheduled_at_s[name] for name, at_s in self._read_handled_at_s().items()]

    def count_attempts(self) -> int:
        """Return how often the handler got the poison message."""
        return sum(name == POISON for name, _ in self._read_progress())

    async def wait_until(self, condition: Callable[[], Awaitable[bool]], subject: str) -> None:
        """Wait until ``condition`` holds, after all messages are published. Raises UserError with the log's end."""
        await self._wait_until(condition, self._load.timeout_s, subject)

    async def _wait_until(self, condition: Callable[[], Awaitable[bool]], timeout_s: float, subject: str) -> None:
        try:
            await wait_until(condition, timeout_s, subject=f"{self.run}: {subject}", remedy=RETRY_HINT)
        except UserError as error:
            raise UserError(
                f"{error.problem}. Its log ends: {log_tails([Path(self._spec.log_file)])}", RETRY_HINT
            ) from None

    async def _is_ready(self) -> bool:
        return any(name == READY for name, _ in self._read_progress())

    def _read_handled_at_s(self) -> dict[str, float]:
        """Return Unix time by measured message: the first, as a crash before the acknowledgement causes another."""
        return {name: at_s for name, at_s in reversed(self._read_progress()) if name.startswith(MEASURED)}

    def _read_progress(self) -> list[tuple[str, float]]:
        """Return name and Unix time of each complete line of the progress file."""
        path = Path(self._spec.progress_path)
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [(name, float(at_s)) for name, _, at_s in (line.partition(" ") for line in lines)]
