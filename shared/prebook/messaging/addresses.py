"""Names of exchanges, routing keys, queues and users on the broker, as an operator sees them.

Names of exchanges and of queues are types: taking one for the other is a type error.
"""

from typing import NewType

ExchangeName = NewType("ExchangeName", str)
QueueName = NewType("QueueName", str)
"""Name of a queue, or of a message group."""

REQUESTS = ExchangeName("prebook.requests")
"""Exchange of request_reply requests; the routing key is the flow."""
REPLIES = ExchangeName("prebook.replies")
"""Exchange of request_reply replies; the routing key is the calling service and the flow (``caller_routing_key``)."""
EVENTS = ExchangeName("prebook.events")
"""Topic exchange of one_way requests and replies, and of events."""
REDELIVER = ExchangeName("prebook.redeliver")
"""Exchange that returns messages from the delay queues; the routing key is the queue."""
PARKING = ExchangeName("prebook.parking")
"""Exchange of dead letters; the routing key is the queue whose consumer failed."""
PARKING_QUEUE = QueueName("prebook.parking")
"""Queue of dead letters, read by operations."""
PARTNER_REPLIES = QueueName("fleets.partner_replies")
"""Address under which unreadable replies of partner fleets are parked. No queue has it: they come by HTTP."""
TEST_MESSAGE = "operations.test_message"
"""Routing key by which test messages through the delay queues return to operations, in the parking queue."""
ARCHIVE_QUEUE = QueueName("prebook.archive")
"""Stream of all archived messages. It also takes events without a subscriber, which would otherwise be unroutable."""
ARCHIVE_READER = "archive_reader"
"""Broker account that reads the archive and publishes its messages to a chosen queue. Not a service."""
OBSERVER = "observer"
"""Broker account that reads lengths of queues from the management API, for an autoscaler. Not a service."""
DISPATCH = ExchangeName("prebook.dispatch")
"""Exchange that routes confirmed rides to dispatch desks, if there are any."""
EXTRAORDINARY_RIDES = QueueName("prebook.extraordinary_rides")
"""Exchange and queue of the confirmed rides that pass the filter of that name, if it is configured."""
VHOST = "prebook"


def request_routing_key(flow: str) -> str:
    """Routing key of a one_way request."""
    return f"request.{flow}"


def reply_routing_key(flow: str) -> str:
    """Routing key of a one_way reply."""
    return f"reply.{flow}"


def caller_routing_key(caller: str, flow: str) -> str:
    """Routing key of a request_reply reply: ``booking.quote_fare``. Each provider may use those of its own flows."""
    return f"{caller}.{flow}"


def event_routing_key(event: str) -> str:
    """Routing key of an event."""
    return f"event.{event}"


def delay_queue(seconds: float) -> QueueName:
    """Queue of one rung of the retry ladder: ``prebook.delay.200`` for 0.2 ``seconds``."""
    return QueueName(f"prebook.delay.{round(seconds * 1000)}")


def request_queue(provider: str, flow: str) -> QueueName:
    """Queue of a provider's request_reply requests of one flow."""
    return QueueName(f"{provider}.requests.{flow}")


def one_way_request_queue(provider: str, flow: str) -> QueueName:
    """Queue of a provider's one_way requests of one flow."""
    return QueueName(f"{provider}.one_way_requests.{flow}")


def reply_queue(caller: str) -> QueueName:
    """Queue of a caller's request_reply replies."""
    return QueueName(f"{caller}.replies")


def one_way_reply_queue(caller: str) -> QueueName:
    """Queue of a caller's one_way replies."""
    return QueueName(f"{caller}.one_way_replies")


def event_queue(subscriber: str) -> QueueName:
    """Queue of the events that a service subscribes to."""
    return QueueName(f"{subscriber}.events")


def partition_queue(group: str, number: int) -> QueueName:
    """Queue of partition ``number`` of a message group; ``group``: name of the group's exchange."""
    return QueueName(f"{group}.{number}")


def unpartitioned(group: str) -> ExchangeName:
    """Exchange that routes messages without a hash slot to the first partition of a group.

    A missing header thus loses no message.
    """
    return ExchangeName(f"{group}.unpartitioned")


def belongs_to(queue: str, address: str) -> bool:
    """Return whether ``queue`` is the queue with this address or a partition of the group with this address."""
    return queue == address or queue.rpartition(".")[0] == address


def desk_queue(desk: str) -> QueueName:
    """Queue of a dispatch desk."""
    return QueueName(f"{DISPATCH}.{desk}")


def unroutable(exchange: str) -> QueueName:
    """Queue of the messages that an exchange cannot route; its alternate exchange has the same name."""
    return QueueName(f"{exchange}.unroutable")


def exchange_before(queue: QueueName) -> ExchangeName:
    """Exchange of the same name as a queue or message group, which routes to it alone."""
    return ExchangeName(queue)


def broker_user(service: str) -> str:
    """Name of the broker user of a service."""
    return f"prebook_{service}"
