"""Receiver process that fails at some messages, and stores the history of each one with its effect."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.coupling.history_publisher import HistoryPublisher
from prebook.coupling.ports import Publisher
from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import (
    TIMEOUT_S,
    PatternReceiver,
    ReceiverSpec,
    ReceiverWork,
    SeededDefect,
)
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES
from prebook.messaging.codec import WireMessage
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.headers import CONVERSATION_ID_HEADER, HISTORY_HEADER, REPLAY_ID_HEADER
from prebook.messaging.policy import Policies

SERVICE = RECEIVER_SERVICES[0]
MAX_ATTEMPTS = 3
BACKOFF_S = 0.2
"""A delay for which the suite has delay queues."""
CREATE_HISTORY = (
    "CREATE TABLE {service}.history (run text, message text, history text NOT NULL, PRIMARY KEY (run, message))"
)
INSERT_HISTORY = text("INSERT INTO history (run, message, history) VALUES (:run, :message, :history)")


class Failures(StrEnum):
    """Attempts at a message that fail."""

    NONE = "none"
    FIRST = "first"
    FIRST_TWO = "first-two"
    ALL_UNTIL_REPLAY = "all"


class IntendedFailure(Exception):
    """Failure of a message that is to be retried."""


class ForgetfulPublisher(Publisher):
    """Publishes the message of one conversation without its history: a seeded defect."""

    def __init__(self, publisher: Publisher, conversation_id: str) -> None:
        self._publisher = publisher
        self._conversation_id = conversation_id

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish the message. Raises what the publisher raises."""
        if message.headers.get(CONVERSATION_ID_HEADER) == self._conversation_id:
            kept = {name: value for name, value in message.headers.items() if name != HISTORY_HEADER}
            message = WireMessage(kept, message.body)
        await self._publisher.publish(exchange, routing_key, message, expires_at=expires_at)


class HistoryReceiver(PatternReceiver):
    """Receiver whose retries and dead letters record their hops."""

    def __init__(self, context: worker.WorkerContext, spec: ReceiverSpec) -> None:
        self._histories = dict[str, str]()
        super().__init__(context, spec)

    def _choose_policies(self, policies: Policies) -> Policies:
        return {
            name: msgspec.structs.replace(policy, max_attempts=MAX_ATTEMPTS, backoff_s=(BACKOFF_S,))
            for name, policy in policies.items()
        }

    def _failure_publisher(self) -> Publisher:
        recording = HistoryPublisher(self._publisher, SERVICE)
        if self._spec.defect is SeededDefect.LOSE:
            return ForgetfulPublisher(recording, self._spec.defective_message)
        return recording

    async def _receive(self, envelope: Envelope) -> None:
        if is_failing(failures_of(envelope.conversation_id), envelope.attempt, REPLAY_ID_HEADER in envelope.extra):
            raise IntendedFailure(f"attempt {envelope.attempt}")
        self._histories[envelope.id] = envelope.extra.get(HISTORY_HEADER, "")
        await super()._receive(envelope)
        self._histories.pop(envelope.id, None)  # the other copy of a repeated retry may have removed it

    async def _apply(self, context: HandlerContext, body: Any, work: ReceiverWork) -> HandlerResult:
        values = {
            "run": self._spec.run,
            "message": context.conversation_id,
            "history": self._histories[context.message_id],
        }
        await work.connection.execute(INSERT_HISTORY, values)
        return await super()._apply(context, body, work)


def is_failing(failures: Failures, attempt: int, is_replayed: bool) -> bool:
    """Return whether an attempt is to fail."""
    if failures is Failures.ALL_UNTIL_REPLAY:
        return not is_replayed
    return attempt <= {Failures.NONE: 0, Failures.FIRST: 1, Failures.FIRST_TWO: 2}[failures]


def failing_name(name: str, failures: Failures) -> str:
    """Return the name of a message whose attempts fail like this."""
    return f"{name}.{failures}"


def failures_of(name: str) -> Failures:
    """Return the attempts that fail at a message with this name."""
    return Failures(name.rpartition(".")[2])


def run(spec: ReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(SERVICE, spec, lambda context: HistoryReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
