"""Names on the broker, in one place: exchanges, routing keys and queues, as an operator reads them."""

REQUESTS = "prebook.requests"
"""Commands; routing key = flow."""
REPLIES = "prebook.replies"
"""Answers to commands; routing key = calling service."""
EVENTS = "prebook.events"
"""What is asked, answered and told to whom it may concern."""
REDELIVER = "prebook.redeliver"
"""Back from a delay; routing key = queue."""
PARKING = "prebook.parking"
"""Set aside; routing key = the queue it comes from."""
PARKING_QUEUE = "prebook.parking"
ARCHIVE_QUEUE = "prebook.replay"
"""A stream of every event: a fact that nobody subscribes to yet still has somewhere to go."""
ARCHIVE_READER = "archive_reader"
"""No service: the account that reads the archive, and hands to a queue of its choice what lies in there."""
VHOST = "prebook"


def request_routing_key(flow: str) -> str:
    return f"request.{flow}"


def reply_routing_key(flow: str) -> str:
    return f"reply.{flow}"


def event_routing_key(event: str) -> str:
    return f"event.{event}"


def delay_queue(seconds: float) -> str:
    """Exchange and queue of one rung of the delay ladder: ``prebook.delay.200`` for 0.2 s."""
    return f"prebook.delay.{round(seconds * 1000)}"


def request_queue(provider: str, flow: str) -> str:
    return f"{provider}.requests.{flow}"


def one_way_request_queue(provider: str, flow: str) -> str:
    return f"{provider}.one_way_requests.{flow}"


def reply_queue(caller: str) -> str:
    return f"{caller}.replies"


def one_way_reply_queue(caller: str) -> str:
    return f"{caller}.one_way_replies"


def event_queue(subscriber: str) -> str:
    return f"{subscriber}.events"


def partition_queue(group: str, number: int) -> str:
    """One queue of a message group. The group has the name that its queue would have, and is an exchange."""
    return f"{group}.{number}"


def unpartitioned(group: str) -> str:
    """Takes what has no slot, so that nothing is lost for want of a header."""
    return f"{group}.unpartitioned"


def broker_user(service: str) -> str:
    """The service's own user at the broker."""
    return f"prebook_{service}"
