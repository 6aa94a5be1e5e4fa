"""Names of exchanges, routing keys, queues and users on the broker, as an operator sees them."""

REQUESTS = "prebook.requests"
"""Exchange of request_reply requests; the routing key is the flow."""
REPLIES = "prebook.replies"
"""Exchange of request_reply replies; the routing key is the calling service and the flow (``caller_routing_key``)."""
EVENTS = "prebook.events"
"""Topic exchange of one_way requests and replies, and of events."""
REDELIVER = "prebook.redeliver"
"""Exchange that returns messages from the delay queues; the routing key is the queue."""
PARKING = "prebook.parking"
"""Exchange of dead letters; the routing key is the queue whose consumer failed."""
PARKING_QUEUE = "prebook.parking"
"""Queue of dead letters, read by operations."""
PARTNER_REPLIES = "fleets.partner_replies"
"""Address under which unreadable replies of partner fleets are parked. No queue has it: they come by HTTP."""
TEST_MESSAGE = "operations.test_message"
"""Routing key by which test messages through the delay queues return to operations, in the parking queue."""
ARCHIVE_QUEUE = "prebook.archive"
"""Stream of all archived messages. It also takes events without a subscriber, which would otherwise be unroutable."""
ARCHIVE_READER = "archive_reader"
"""Broker account that reads the archive and publishes its messages to a chosen queue. Not a service."""
OBSERVER = "observer"
"""Broker account that reads lengths of queues from the management API, for an autoscaler. Not a service."""
DISPATCH = "prebook.dispatch"
"""Exchange that routes confirmed rides to dispatch desks, if there are any."""
EXTRAORDINARY_RIDES = "prebook.extraordinary_rides"
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


def delay_queue(seconds: float) -> str:
    """Exchange and queue of one rung of the retry ladder: ``prebook.delay.200`` for 0.2 ``seconds``."""
    return f"prebook.delay.{round(seconds * 1000)}"


def request_queue(provider: str, flow: str) -> str:
    """Queue of a provider's request_reply requests of one flow."""
    return f"{provider}.requests.{flow}"


def one_way_request_queue(provider: str, flow: str) -> str:
    """Queue of a provider's one_way requests of one flow."""
    return f"{provider}.one_way_requests.{flow}"


def reply_queue(caller: str) -> str:
    """Queue of a caller's request_reply replies."""
    return f"{caller}.replies"


def one_way_reply_queue(caller: str) -> str:
    """Queue of a caller's one_way replies."""
    return f"{caller}.one_way_replies"


def event_queue(subscriber: str) -> str:
    """Queue of the events that a service subscribes to."""
    return f"{subscriber}.events"


def partition_queue(group: str, number: int) -> str:
    """Queue of partition ``number`` of a message group; ``group``: name of the group's exchange."""
    return f"{group}.{number}"


def unpartitioned(group: str) -> str:
    """Exchange that routes messages without a hash slot to the first partition of a group.

    A missing header thus loses no message.
    """
    return f"{group}.unpartitioned"


def belongs_to(queue: str, address: str) -> bool:
    """Return whether ``queue`` is the queue with this address or a partition of the group with this address."""
    return queue == address or queue.rpartition(".")[0] == address


def desk_queue(desk: str) -> str:
    """Queue of a dispatch desk."""
    return f"{DISPATCH}.{desk}"


def unroutable(exchange: str) -> str:
    """Exchange and queue of the messages that an exchange cannot route: its alternate exchange."""
    return f"{exchange}.unroutable"


def broker_user(service: str) -> str:
    """Name of the broker user of a service."""
    return f"prebook_{service}"
