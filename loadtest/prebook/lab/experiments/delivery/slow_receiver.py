"""Receiver process that keeps some messages unacknowledged for too long after it has handled them."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, PatternReceiver, ReceiverSpec
from prebook.lab.experiments.worker import WorkerContext
from prebook.messaging.envelope import Envelope


class SlowReceiverSpec(ReceiverSpec, frozen=True, kw_only=True):
    """Arguments of one process.

    ``slow_messages``: messages that are kept at their first delivery. ``deliveries_path``: file for the time and the
    name of each delivery, one line each.
    """

    slow_messages: Sequence[str]
    deliveries_path: str

    def __repr__(self) -> str:
        return "SlowReceiverSpec(<not printed: it holds secrets>)"

    def read_deliveries(self) -> list[tuple[float, str]]:
        """Return the deliveries so far: seconds of a clock that never goes back, and the name of the message."""
        lines = (line.split() for line in Path(self.deliveries_path).read_text().splitlines())
        return [(float(at_s), name) for at_s, name in lines]


class SlowReceiver(PatternReceiver):
    """Receiver whose work on a message goes on after its effect, as with a report that is written at the end."""

    def __init__(self, context: WorkerContext, spec: SlowReceiverSpec) -> None:
        super().__init__(context, spec)
        self._slow = set(spec.slow_messages)
        self._deliveries = Path(spec.deliveries_path).open("w", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def _receive(self, envelope: Envelope) -> None:
        name = envelope.conversation_id
        self._deliveries.write(f"{time.monotonic()} {name}\n")
        await super()._receive(envelope)
        if name in self._slow:
            self._slow.remove(name)
            await asyncio.sleep(TIMEOUT_S)


def run(spec: SlowReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(spec.service, spec, lambda context: SlowReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
