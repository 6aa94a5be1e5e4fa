"""The form in which a replay sends a message again."""

from collections.abc import Mapping

from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import EXPIRES_AT_HEADER, REPLAY_ID_HEADER, is_delivery_header

NO_HEADERS: Mapping[str, str] = {}


def marked_as_replay(
    message: WireMessage, replay_id: str, *, ignore_expiry: bool = False, extra: Mapping[str, str] = NO_HEADERS
) -> WireMessage:
    """Return ``message`` with the header that names its replay, and without the traces of earlier deliveries.

    ``ignore_expiry`` removes the expiry. ``extra`` headers are added, or replace those of the same name.
    """
    kept = {
        name: value
        for name, value in message.headers.items()
        if not is_delivery_header(name) and not (ignore_expiry and name == EXPIRES_AT_HEADER)
    }
    return WireMessage({**kept, **extra, REPLAY_ID_HEADER: replay_id}, message.body)
