"""Ids of messages, which begin with their conversation and name their flow or event. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from prebook.flows import EVENT_TYPES, FLOWS
from prebook.messaging.envelope import MessageKind, request_id_of

EVENTS_BY_NAME = {event_type.name: event_type for event_type in EVENT_TYPES}


@dataclass(frozen=True)
class ParsedMessage:
    """Content of a message id: place in the conversation, sender and receivers."""

    id: str
    kind: MessageKind
    name: str
    key: str
    sender: str
    receivers: Sequence[str | None]


def parse_message(conversation_id: str, message_id: str) -> ParsedMessage | None:
    """Return what the id of a message tells; None for a flow or event that this version does not know."""
    own_id = request_id_of(message_id)
    name, _, key = own_id.removeprefix(f"{conversation_id}.").partition(".")
    if event := EVENTS_BY_NAME.get(name):
        subscribers: Sequence[str | None] = sorted(event.subscribers) or [None]
        return ParsedMessage(message_id, MessageKind.EVENT, name, key, event.publisher, subscribers)
    if (flow := FLOWS.get(name)) is None:
        return None
    if own_id != message_id:
        return ParsedMessage(message_id, MessageKind.REPLY, name, key, flow.provider, [flow.caller])
    return ParsedMessage(message_id, MessageKind.REQUEST, name, key, flow.caller, [flow.provider])


def conversation_of(reference: str) -> str:
    """Return the conversation of a message id; any other text is returned unchanged."""
    names = (*FLOWS, *EVENTS_BY_NAME)
    starts = [place for name in names if (place := f"{reference}.".find(f".{name}.")) > 0]
    return reference[: min(starts)] if starts else reference
