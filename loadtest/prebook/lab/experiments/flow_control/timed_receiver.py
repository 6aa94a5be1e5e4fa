"""Receiver process that writes down how long each message was in progress."""

import time
from pathlib import Path

from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, PatternReceiver, ReceiverSpec
from prebook.lab.experiments.worker import WorkerContext
from prebook.messaging.envelope import Envelope


class TimedReceiverSpec(ReceiverSpec, frozen=True, kw_only=True):
    """Arguments of one process. ``times_path``: file for the seconds of each message, one line each."""

    times_path: str

    def __repr__(self) -> str:
        return "TimedReceiverSpec(<not printed: it holds secrets>)"

    def read_times_s(self) -> list[float]:
        """Return the seconds of the messages handled so far."""
        return [float(line) for line in Path(self.times_path).read_text().splitlines()]


class TimedReceiver(PatternReceiver):
    """Receiver that measures each message from its delivery to the commit."""

    def __init__(self, context: WorkerContext, spec: TimedReceiverSpec) -> None:
        super().__init__(context, spec)
        self._times = Path(spec.times_path).open("w", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def _receive(self, envelope: Envelope) -> None:
        began_s = time.monotonic()
        await super()._receive(envelope)
        self._times.write(f"{time.monotonic() - began_s}\n")


def run(spec: TimedReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(spec.service, spec, lambda context: TimedReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
