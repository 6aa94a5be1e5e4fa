"""HTTP client that reads from the services' inboxes whether a message has taken effect."""

from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote

import msgspec

from prebook.contracts.replays import InboxRecord
from prebook.coupling.ports import HttpClient
from prebook.messaging.errors import Unreachable
from prebook.replay.ports import InboxLookup


def inbox_lookup(http: HttpClient, timeout_s: float) -> InboxLookup:
    """Return an InboxLookup over ``GET /inbox/{message_id}``. ``timeout_s``: limit of one request, in seconds."""

    async def look_up_inbox(service: str, message_id: str) -> datetime | None:
        path = f"/inbox/{quote(message_id, safe='')}"
        response = await http.request("GET", service, path, headers={}, timeout_s=timeout_s)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status != HTTPStatus.OK:
            raise Unreachable(f"the inbox of {service} answers {response.status} for message {message_id}")
        return msgspec.json.decode(response.body, type=InboxRecord).received_at

    return look_up_inbox
