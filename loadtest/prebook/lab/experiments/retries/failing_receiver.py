"""Receiver process that fails at a message a given number of times, and records the time of each attempt."""

from collections.abc import Iterable

import asyncpg
import msgspec

from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S, PatternReceiver, ReceiverSpec
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, PatternSite
from prebook.lab.experiments.worker import WorkerContext
from prebook.messaging import addresses
from prebook.messaging.envelope import Envelope
from prebook.messaging.policy import Policies
from prebook.postgres.dsn import asyncpg_dsn

SERVICE = RECEIVER_SERVICES[0]
PREFETCH = 4
MAX_ATTEMPTS = 4
BACKOFF_S = (0.2, 1.0)
"""Delays for which the suite has delay queues; the last repeats."""
CREATE_ATTEMPT = (
    "CREATE TABLE {service}.attempt (run text, message text, number int, "
    "at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
INSERT_ATTEMPT = f"INSERT INTO {SERVICE}.attempt (run, message, number) VALUES ($1, $2, $3)"  # noqa: S608 - a schema


class IntendedFailure(Exception):
    """Failure that is to be retried."""


class FailingReceiver(PatternReceiver):
    """Receiver that records each attempt in a transaction of its own, so that a failure does not undo it."""

    def __init__(self, context: WorkerContext, spec: ReceiverSpec, attempts: asyncpg.Pool) -> None:
        super().__init__(context, spec)
        self._attempts = attempts

    def _choose_policies(self, policies: Policies) -> Policies:
        return {
            name: msgspec.structs.replace(policy, max_attempts=MAX_ATTEMPTS, backoff_s=BACKOFF_S)
            for name, policy in policies.items()
        }

    async def _receive(self, envelope: Envelope) -> None:
        message = envelope.conversation_id
        await self._attempts.execute(INSERT_ATTEMPT, self._spec.run, message, envelope.attempt)
        if envelope.attempt <= failures_of(message):
            raise IntendedFailure(f"attempt {envelope.attempt}")
        await super()._receive(envelope)


def failing_names(names: Iterable[str]) -> list[str]:
    """Return ``names`` with the number of attempts that fail, from 0 to MAX_ATTEMPTS, in turn.

    Every other message is handled at once: a receiver at which too many fail in a row pauses, as in an outage.
    """
    cycle = [0, *(failures for number in range(1, MAX_ATTEMPTS + 1) for failures in (number, 0))]
    return [f"{name}.{cycle[number % len(cycle)]}" for number, name in enumerate(names)]


def failures_of(name: str) -> int:
    """Return how many attempts fail at a message with this name."""
    return int(name.rpartition(".")[2])


async def wait_for_dead_letters(site: PatternSite, count: int) -> None:
    """Wait until ``count`` messages are parked. Raises UserError."""

    async def are_parked() -> bool:
        return await site.count_ready(addresses.PARKING_QUEUE) >= count

    await site.wait_until(are_parked, "the dead letters")


async def serve(context: WorkerContext, spec: ReceiverSpec) -> None:
    """Receive until the process is killed."""
    async with asyncpg.create_pool(asyncpg_dsn(context.settings.database_url), min_size=1, max_size=PREFETCH) as pool:
        await FailingReceiver(context, spec, pool).run()


def run(spec: ReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(SERVICE, spec, lambda context: serve(context, spec), timeout_s=TIMEOUT_S)
