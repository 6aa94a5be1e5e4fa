"""One queue and its consumer, a process of its own, and what that has noted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from prebook.devstack.errors import UserError
from prebook.devstack.polling import wait_until
from prebook.lab.experiments.forked import last_words, start_forked
from prebook.lab.experiments.poison import consumer
from prebook.lab.experiments.poison.consumer import READY, SERVICE, PoisonWorkerSpec
from prebook.lab.experiments.poison.messages import MEASURED, POISON
from prebook.lab.experiments.poison.model import PoisonLoad
from prebook.lab.experiments.testbed import RETRY_HINT, ExperimentContext

CREATE_TABLE = f"CREATE TABLE {SERVICE}.handled (run text, message text)"
COUNT_HANDLED = f"""
    SELECT message, count(*) AS effects FROM {SERVICE}.handled
    WHERE run = $1 AND message LIKE '{MEASURED}-%' GROUP BY message"""  # noqa: S608 - a schema and a name of ours
START_TIMEOUT_S = 20.0


class ConsumerProcess:
    """``scheduled_at_s`` has when each message was to leave; the sender fills it in."""

    def __init__(self, context: ExperimentContext, amqp_url: str, load: PoisonLoad, run: str, queue: str) -> None:
        self.run = run
        self.queue = queue
        self.scheduled_at_s = dict[str, float]()
        self._load = load
        file = context.work_dir / f"poison-{run}"
        self._spec = PoisonWorkerSpec(
            load=load,
            run=run,
            queue=queue,
            amqp_url=amqp_url,
            env=context.envs[SERVICE],
            progress_path=f"{file}.progress",
            log_file=f"{file}.log",
        )

    @asynccontextmanager
    async def run_consumer(self) -> AsyncIterator[None]:
        """Within, it is ready."""
        with start_forked(consumer.run, [self._spec], (consumer.__name__,)):
            await self._wait_until(self._is_ready, START_TIMEOUT_S, "the consumer")
            yield

    async def wait_until_handled(self) -> None:
        """Returns once all that are measured have had their effect."""

        async def are() -> bool:
            return sum(what.startswith(MEASURED) for what, _ in self._read_progress()) >= self._load.messages

        await self.wait_until(are, "the effect of every other message")

    async def read_effects(self, database: asyncpg.Connection) -> Mapping[str, int]:
        """Message -> effects, of those that were measured."""
        return {row["message"]: row["effects"] for row in await database.fetch(COUNT_HANDLED, self.run)}

    def read_latencies_s(self) -> list[float]:
        """Seconds, of those that were measured."""
        return [at - self.scheduled_at_s[what] for what, at in self._read_progress() if what.startswith(MEASURED)]

    def count_attempts(self) -> int:
        return sum(what == POISON for what, _ in self._read_progress())

    async def wait_until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Once all has been said. Raises UserError with the consumer's last words."""
        await self._wait_until(condition, self._load.timeout_s, what)

    async def _wait_until(self, condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
        try:
            await wait_until(condition, timeout_s, subject=f"{self.run}: {what}", remedy=RETRY_HINT)
        except UserError as trouble:
            raise UserError(
                f"{trouble.problem}. Last words: {last_words([Path(self._spec.log_file)])}", RETRY_HINT
            ) from None

    async def _is_ready(self) -> bool:
        return any(what == READY for what, _ in self._read_progress())

    def _read_progress(self) -> list[tuple[str, float]]:
        """(what, when) in whole lines."""
        path = Path(self._spec.progress_path)
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [(what, float(at)) for what, _, at in (line.partition(" ") for line in lines)]
