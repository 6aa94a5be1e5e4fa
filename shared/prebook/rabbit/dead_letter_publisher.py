"""Publisher of failed messages: to a delay queue, which returns them, or to the parking queue with their cause."""

from prebook.coupling.ports import Publisher
from prebook.coupling.request_reply import address_of
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import TOO_LARGE, Undeliverable, Unreachable
from prebook.messaging.headers import FLOW_HEADER, MESSAGE_ID_HEADER
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.recoverability.dead_letter import failure_headers, first_failure_headers
from prebook.messaging.recoverability.publishable_headers import publishable_headers

MAX_HEADERS_BYTES = (64 * 1024, 2 * 1024)
"""Limits of the headers of a dead letter, tried in turn: the first fits the usual frame of 128 KiB, the second one any
frame, since AMQP 0-9-1 allows at least 4 KiB."""


class DeadLetterPublisher:
    """Publisher of retries and dead letters. Every method raises Unreachable or Undeliverable.

    ``address`` is the name of the consumed queue, or of the partitioned queue that the consumed partition belongs to.
    """

    def __init__(self, publisher: Publisher, observer: MessagingObserver) -> None:
        self._publisher = publisher
        self._observer = observer

    async def delay(self, address: str, wire: WireMessage, delay_s: float) -> None:
        """Deliver the message to ``address`` again after ``delay_s`` seconds, which must be a declared delay."""
        await self._publisher.publish(addresses.delay_queue(delay_s), address, wire)

    async def dead_letter(self, address: str, wire: WireMessage, cause: str, error: Exception | None) -> None:
        """Park the message with its cause and, where a handler raised one, its error.

        What the broker would refuse or interpret is left out of the headers, see publishable_headers.
        """
        headers = {**wire.headers, **failure_headers(cause, error)}
        for max_bytes in MAX_HEADERS_BYTES:
            parked = WireMessage(publishable_headers(headers, max_bytes), wire.body)
            try:
                await self._publisher.publish(addresses.PARKING, address, parked)
                break
            except Undeliverable as refusal:
                if refusal.cause != TOO_LARGE or max_bytes == MAX_HEADERS_BYTES[-1]:
                    raise
        message_id = wire.headers.get(MESSAGE_ID_HEADER, "")
        self._observer.on_dead_lettered(message_id, wire.headers.get(FLOW_HEADER, "unknown"), cause)

    async def dead_letter_local(self, envelope: Envelope, cause: str, error: Exception) -> None:
        """Implement local_recovery.DeadLetterLocal: the dead letter is one of the queue for the same messages.

        A replay reaches the service by that queue; the reply goes by the coupling of the message all the same.
        """
        address = address_of(envelope)
        first_failure = first_failure_headers(address.exchange, address.routing_key, utc_now())
        wire = encode(envelope)
        await self._dead_letter_or_keep(
            address.queue, WireMessage({**first_failure, **wire.headers}, wire.body), cause, error
        )

    async def dead_letter_blocked(self, group: str, envelope: Envelope, cause: str, error: Exception | None) -> None:
        """Implement key_sequencer.PublishDeadLetter: a message that cannot be parked stays blocked."""
        await self._dead_letter_or_keep(group, encode(envelope), cause, error)

    async def _dead_letter_or_keep(self, address: str, wire: WireMessage, cause: str, error: Exception | None) -> None:
        """Raise Unreachable for an undeliverable dead letter too: its message stays stored until a later try."""
        try:
            await self.dead_letter(address, wire, cause, error)
        except Undeliverable as failure:
            raise Unreachable(f"dead-letter publish refused: {failure}") from failure
