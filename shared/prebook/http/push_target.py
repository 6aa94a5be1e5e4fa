"""Push target of a pipe: an HTTP endpoint outside the suite that takes batches as JSON arrays.

A batch may come again after a crash of the pipe; the receiver recognises its items by their ids.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from prebook.coupling.http_errors import parse_retry_after
from prebook.http.client import create_http_client, limit_exchange
from prebook.messaging.clock import utc_now
from prebook.messaging.errors import Unreachable
from prebook.patterns.pipe import Passed, Refused, StageVerdict

PUSH_TIMEOUT_S = 15.0
"""Seconds for one batch, the response included."""
MAX_RETRY_AFTER_S = 300.0
"""Maximum pause that a target can ask for, in seconds."""
RETRIED_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses below 500 after which the same batch may succeed."""


class PushTarget:
    """Stage of a pipe that posts each batch to ``url``. Close it after use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = create_http_client()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def push(self, items: Sequence[Any]) -> Sequence[StageVerdict[Any]]:
        """Post a batch; return the verdicts on its items. A batch that the target refuses is
        pushed again item by item, so that only the items at fault are refused.

        Raises Unreachable if the target accepts nothing at the moment; the caller repeats the batch.
        """
        status = await self._post(items)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return [Passed(item) for item in items]
        if len(items) == 1:
            return [Refused(f"status_{status}", f"the target answered {status}")]
        return [verdict for item in items for verdict in await self.push([item])]

    async def _post(self, items: Sequence[Any]) -> int:
        body = msgspec.json.encode(items)
        headers = {"content-type": "application/json"}
        async with (
            limit_exchange("the target", PUSH_TIMEOUT_S),
            self._client.stream("POST", self._url, content=body, headers=headers) as response,
        ):
            status = response.status_code
            retry_after = response.headers.get("retry-after", "")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRIED_STATUSES:
            pause_s = parse_retry_after(retry_after, utc_now(), MAX_RETRY_AFTER_S)
            raise Unreachable(f"the target answers {status}", reason="refused", retry_after_s=pause_s)
        return status
