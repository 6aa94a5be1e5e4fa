"""Names of the message headers, the same over AMQP and HTTP.

``ce-*`` are the attributes of CloudEvents 1.0 in binary content mode, ``prebook-*`` are specific to Prebook. The codec
carries headers that start with ``prebook-x-`` along unread.
"""

CONTENT_TYPE_HEADER = "content-type"
"""Media type of the body, the CloudEvents attribute ``datacontenttype``; JSON in a message without it. Over AMQP it is
the property of this name."""
SPEC_VERSION_HEADER = "ce-specversion"
MESSAGE_ID_HEADER = "ce-id"
TYPE_HEADER = "ce-type"
SOURCE_HEADER = "ce-source"
CONVERSATION_ID_HEADER = "ce-subject"
TIME_HEADER = "ce-time"
PARTITION_KEY_HEADER = "ce-partitionkey"
DATA_REFERENCE_HEADER = "ce-dataref"
"""Path at the sender's internal listener where the body is, in a message with a claim check. Source: CloudEvents
extension "Dataref"."""

KIND_HEADER = "prebook-kind"
FLOW_HEADER = "prebook-flow"
PLAN_HEADER = "prebook-plan"
REPLY_TO_HEADER = "prebook-reply-to"
EXPIRES_AT_HEADER = "prebook-expires-at"
ATTEMPT_HEADER = "prebook-attempt"
"""Number of the delivery attempt, from 1."""
BODY_BYTES_HEADER = "prebook-body-bytes"
"""Size of the body behind a claim check, in bytes."""
BODY_DIGEST_HEADER = "prebook-body-sha256"
"""SHA-256 of the body behind a claim check, as hexadecimal digits."""
HASH_SLOT_HEADER = "prebook-hash-slot"
"""Hash slot of the partition key: a message group binds each of its partitions to some of the slots."""

VEHICLE_CLASS_HEADER = "prebook-vehicle-class"
ZONE_HEADER = "prebook-zone"
FARE_BAND_HEADER = "prebook-fare-band"
DISTANCE_BAND_HEADER = "prebook-distance-band"

EXTENSION_PREFIX = "prebook-x-"
CAUSE_HEADER = "prebook-x-cause"
"""Machine-readable code for why the message was dead-lettered."""
ERROR_HEADER = "prebook-x-error"
"""Type and first line of the error."""
TRACEBACK_DIGEST_HEADER = "prebook-x-traceback-digest"
"""Digest of where the error was raised."""
EXCHANGE_HEADER = "prebook-x-exchange"
"""Exchange to which the message was first published, so that a replay can send it there again."""
ROUTING_KEY_HEADER = "prebook-x-routing-key"
"""Routing key with which the message was first published."""
FIRST_FAILED_AT_HEADER = "prebook-x-first-failed-at"
"""When the message failed for the first time."""
REPLAY_ID_HEADER = "prebook-x-replay-id"
"""Replay that sent the message again."""
DEAD_LETTER_ID_HEADER = "prebook-x-dead-letter-id"
"""Number of the dead letter at operations."""
UNDECODABLE_HEADER = "prebook-x-undecodable"
"""Description of the properties and headers that the client could not decode, with their bytes."""
OMITTED_HEADER = "prebook-x-omitted"
"""Description of the headers that a dead letter lacks: those with a meaning for the broker, and oversized ones."""
STARTS_HEADER = "prebook-x-starts"
"""How often a message of the local route was taken up again after a lease without an outcome."""
REPEATED_HEADER = "prebook-x-repeated"
"""Number of failed attempts to send a callback, in its repetitions."""
PARENT_SPAN_HEADER = "prebook-x-parent-span"
"""Id of the span in which the message was created, where spans are exported; ``traceparent`` has the message's own."""
HISTORY_HEADER = "prebook-x-hops"
"""Hops of the message over the broker (``patterns.message_history``); it stays with the message in every delivery."""
DEAD_LETTER_HEADERS = frozenset(
    {
        CAUSE_HEADER,
        ERROR_HEADER,
        TRACEBACK_DIGEST_HEADER,
        EXCHANGE_HEADER,
        ROUTING_KEY_HEADER,
        FIRST_FAILED_AT_HEADER,
        REPLAY_ID_HEADER,
        DEAD_LETTER_ID_HEADER,
        UNDECODABLE_HEADER,
        OMITTED_HEADER,
        STARTS_HEADER,
        REPEATED_HEADER,
    }
)
"""Headers that dead-lettering, repetition and replay add to a message."""


ROUTING_HEADERS = frozenset({"CC", "BCC"})
"""Further routing keys of a message. Source: RabbitMQ, "Sender-selected Distribution"."""
BROKER_PREFIX = "x-"
_ADDED_BY_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "x-stream-")


def is_broker_header(name: str) -> bool:
    """Return whether a header has a meaning for the broker, which may refuse or route a message by it."""
    return name in ROUTING_HEADERS or name.startswith(BROKER_PREFIX)


def is_added_by_broker(name: str) -> bool:
    """Return whether the broker adds the header to what it delivers."""
    return name.startswith(_ADDED_BY_BROKER)


def is_delivery_header(name: str) -> bool:
    """Return whether a header describes a delivery of the message (by the broker, dead-lettering or a replay) and not
    the message.
    """
    return name in DEAD_LETTER_HEADERS or is_broker_header(name)
