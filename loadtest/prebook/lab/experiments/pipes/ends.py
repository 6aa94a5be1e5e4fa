"""Ends of the items of a pipe, observed from outside: at target, filter, parking queue and source."""

from collections.abc import Collection

from prebook.lab.experiments.patterns.site import PatternSite, QuietPeriod
from prebook.lab.experiments.pipes import worker
from prebook.lab.experiments.pipes.target import RecordingTarget
from prebook.lab.experiments.pipes.worker import PipeWorkerSpec
from prebook.messaging import addresses
from prebook.messaging.headers import CONVERSATION_ID_HEADER
from prebook.patterns.pipe import PipeAccount
from prebook.rabbit.amqp_message import from_amqp


class PipeEnds:
    """Runs the process of one pipe, and accounts for its items by their names: a repetition counts once."""

    def __init__(self, site: PatternSite, target: RecordingTarget, spec: PipeWorkerSpec) -> None:
        self.spec = spec
        self._site = site
        self._target = target
        self._parked: set[str] = set()

    async def run_until(self, delivered: float) -> None:
        """Run the process until the target has got so many items, and kill it. Raises UserError."""
        async with self._site.processes(worker.run, self.spec) as (process,):

            async def are_delivered() -> bool:
                return len(self._target.names) >= delivered

            await self._site.wait_until(are_delivered, f"{delivered:.0f} items at the target", [self.spec])
            process.kill()
            process.join()

    async def run_until_all_ended(self, names: Collection[str]) -> None:
        """Run the process until each of ``names`` has an end. Where one is lost, until nothing changes any more."""
        quiet = QuietPeriod()

        async def have_ended() -> bool:
            ended = self._target.names | self.spec.read_filtered() | await self._collect_parked()
            if ended.issuperset(names):
                return True
            return quiet.is_over(len(ended)) and not await self._site.count_ready(self.spec.pipe.source)

        async with self._site.processes(worker.run, self.spec):
            await self._site.wait_until(have_ended, f"the ends of {len(names)} items", [self.spec])

    async def account(self, received: int) -> PipeAccount:
        """Return the account; it empties the source. An item that waits although it has an end is a repetition."""
        filtered = self.spec.read_filtered()
        parked = await self._collect_parked()
        waiting = await self._take_names(self.spec.pipe.source) - filtered - parked - self._target.names
        return PipeAccount(
            received=received,
            filtered=len(filtered),
            delivered=len(self._target.names),
            parked=len(parked),
            waiting=len(waiting),
        )

    async def _collect_parked(self) -> set[str]:
        self._parked |= await self._take_names(addresses.PARKING_QUEUE)
        return self._parked

    async def _take_names(self, queue: str) -> set[str]:
        """Take all messages out of a queue; return their names."""
        names = set[str]()
        channel = await self._site.broker.channel()
        source = await channel.get_queue(queue, ensure=False)
        while message := await source.get(no_ack=True, fail=False):
            names.add(from_amqp(message).headers[CONVERSATION_ID_HEADER])
        await channel.close()
        return names
