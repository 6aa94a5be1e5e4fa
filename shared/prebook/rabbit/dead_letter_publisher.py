"""Out of the way of others: to a delay and back to where it came from, or to the parking with its cause."""

from datetime import datetime

from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.messaging.headers import (
    CAUSE_HEADER,
    ERROR_HEADER,
    EXCHANGE_HEADER,
    FIRST_FAILED_AT_HEADER,
    FLOW_HEADER,
    ROUTING_KEY_HEADER,
    STACK_DIGEST_HEADER,
)
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.recoverability.dead_letter import stack_digest


class DeadLetterPublisher:
    """``address`` is the name of the queue, or of the partitioned queue. Raises Unreachable and Undeliverable."""

    def __init__(self, publisher: Publisher, observer: MessagingObserver) -> None:
        self._publisher, self._observer = publisher, observer

    async def delay(self, address: str, wire: WireMessage, delay_s: float) -> None:
        await self._publisher.publish(addresses.delay_queue(delay_s), address, wire)

    async def dead_letter(self, address: str, wire: WireMessage, cause: str, error: Exception | None) -> None:
        self._observer.on_dead_lettered(wire.headers.get(FLOW_HEADER, "unknown"), cause)
        failed = {ERROR_HEADER: error_summary(error), STACK_DIGEST_HEADER: stack_digest(error)} if error else {}
        await self._publisher.publish(
            addresses.PARKING, address, WireMessage({**wire.headers, CAUSE_HEADER: cause, **failed}, wire.body)
        )

    async def dead_letter_blocked(self, group: str, envelope: Envelope, cause: str, error: Exception | None) -> None:
        """Implements key_sequencer.PublishDeadLetter: a message that cannot be parked stays blocked."""
        try:
            await self.dead_letter(group, encode(envelope), cause, error)
        except Undeliverable as failure:
            raise Unreachable(f"dead-letter publish refused: {failure}") from failure


def first_failure_headers(exchange: str, key: str, at: datetime) -> dict[str, str]:
    """Where it was first published to, so that a replay can send it there again, and when it first failed."""
    return {EXCHANGE_HEADER: exchange, ROUTING_KEY_HEADER: key, FIRST_FAILED_AT_HEADER: at.isoformat()}
