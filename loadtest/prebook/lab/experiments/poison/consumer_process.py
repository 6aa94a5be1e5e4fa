"""One queue and its consumer, a process of its own, and what that has noted."""

import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from prebook.devstack.child_process import tail
from prebook.devstack.errors import Trouble
from prebook.devstack.polling import until
from prebook.lab.experiments.exactly_once.experiment import Bench
from prebook.lab.experiments.poison import consumer
from prebook.lab.experiments.poison.consumer import READY, SERVICE, Part
from prebook.lab.experiments.poison.messages import OTHER, POISON
from prebook.lab.experiments.poison.model import Load

TABLE = f"CREATE TABLE {SERVICE}.taken (run text, message text)"
TAKEN = f"""
    SELECT message, count(*) AS effects FROM {SERVICE}.taken
    WHERE run = $1 AND message LIKE '{OTHER}-%' GROUP BY message"""  # noqa: S608 - a schema and a name of ours
STARTED_WITHIN_S = 20.0
AGAIN = "nothing can be concluded from this run: try again while the machine has less to do"


class Side:
    """``meant`` is when each message was meant to leave; whoever sends fills it in."""

    def __init__(self, bench: Bench, url: str, load: Load, run: str, queue: str) -> None:
        self.run, self.queue, self.meant = run, queue, dict[str, float]()
        self._load = load
        file = bench.folder / f"poison-{run}"
        self._part = Part(
            load=load,
            run=run,
            queue=queue,
            url=url,
            env=bench.envs[SERVICE],
            notes=f"{file}.notes",
            log=f"{file}.log",
        )

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        """Within, it is ready."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "prebook.lab.experiments.poison.consumer"])
        process = context.Process(target=consumer.live, args=(self._part,), daemon=True)
        process.start()
        try:
            await self._until(self._is_ready, STARTED_WITHIN_S, "the consumer")
            yield
        finally:
            process.kill()
            process.join()

    async def noted(self) -> None:
        """Returns once all that are measured have had their effect."""

        async def are() -> bool:
            return sum(what.startswith(OTHER) for what, _ in self._notes()) >= self._load.messages

        await self.until(are, "the effect of every other message")

    async def effects(self, database: asyncpg.Connection) -> Mapping[str, int]:
        """Message -> effects, of those that were measured."""
        return {row["message"]: row["effects"] for row in await database.fetch(TAKEN, self.run)}

    def took(self) -> list[float]:
        """Seconds, of those that were measured."""
        return [at - self.meant[what] for what, at in self._notes() if what.startswith(OTHER)]

    def tries(self) -> int:
        return sum(what == POISON for what, _ in self._notes())

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Once all has been said. Raises Trouble with the consumer's last words."""
        await self._until(condition, self._load.within_s, what)

    async def _until(self, condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
        try:
            await until(condition, within_s, what=f"{self.run}: {what}", remedy=AGAIN)
        except Trouble as trouble:
            raise Trouble(f"{trouble.problem}. Last words: {self._last_words()}", AGAIN) from None

    async def _is_ready(self) -> bool:
        return any(what == READY for what, _ in self._notes())

    def _notes(self) -> list[tuple[str, float]]:
        """(what, when) in whole lines."""
        path = Path(self._part.notes)
        lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        return [(what, float(at)) for what, _, at in (line.partition(" ") for line in lines)]

    def _last_words(self) -> str:
        log = Path(self._part.log)
        return (tail(log).strip() if log.exists() else "") or "(none)"
