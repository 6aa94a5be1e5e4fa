"""Return address of a reply. Source: EIP, Return Address."""

from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable


def caller_of(reply: Envelope) -> str:
    """Return the service that a reply goes to: the caller of its flow.

    Raises Undeliverable if the request named another return address; a forged one must not receive a reply.
    """
    caller = FLOWS[reply.flow].caller
    if reply.reply_to != caller:
        raise Undeliverable(f"{reply.reply_to!r} is not the caller of {reply.flow}")
    return caller
