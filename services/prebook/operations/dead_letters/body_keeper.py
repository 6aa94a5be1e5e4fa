"""Keeper of the bodies that dead letters refer to: a message with a claim check can be replayed as long as it is kept.

Source: EIP, Claim Check and Dead Letter Channel.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus

import msgspec
import structlog

from prebook.contracts.claim_store import MAX_REFERENCES, ExtendBodies
from prebook.coupling.ports import HttpClient
from prebook.messaging.claim_checks import sender_of
from prebook.messaging.codec import CHECKED_BODIES_PATH
from prebook.messaging.envelope import MessageKind
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.operations.dead_letters.store import BodyReference, DeadLetterWork
from prebook.patterns.claim_check import REFERENCE_PATTERN

EXTEND_TIMEOUT_S = 5.0
log = structlog.get_logger()


class BodyKeeper:
    """Lets the lifetime of these bodies begin again, at the services that have sent the messages."""

    def __init__(self, begin: BeginUnitOfWork[DeadLetterWork], http: HttpClient) -> None:
        """``http`` signs in the name of operations."""
        self._begin = begin
        self._http = http

    async def extend(self) -> None:
        """Extend the bodies of all dead letters that are not resolved. Raises whatever the database raises.

        A service that is away is left out until the next call.
        """
        after = 0
        while True:
            async with self._begin() as work:
                page = await work.list_body_references(after, MAX_REFERENCES)
            if not page:
                return
            after = page[-1].dead_letter_id
            for sender, references in references_by_sender(page).items():
                await self._extend_at(sender, references)

    async def _extend_at(self, sender: str, references: Sequence[str]) -> None:
        path = f"{CHECKED_BODIES_PATH}/extensions"
        body = msgspec.json.encode(ExtendBodies(references=tuple(references)))
        try:
            response = await self._http.request("POST", sender, path, headers={}, body=body, timeout_s=EXTEND_TIMEOUT_S)
            problem = "" if response.status == HTTPStatus.OK else f"status {response.status}"
        except (Unreachable, Undeliverable) as error:
            problem = error_summary(error)
        if problem:
            log.warning("bodies of dead letters not extended", service=sender, bodies=len(references), error=problem)


def references_by_sender(found: Iterable[BodyReference]) -> dict[str, list[str]]:
    """Return the references by the service that holds the bodies. Those of malformed messages are left out."""
    by_sender = defaultdict[str, list[str]](list)
    for each in found:
        path, _, reference = each.path.rpartition("/")
        sender = sender_of(MessageKind(each.kind), each.flow) if each.kind in set(MessageKind) else ""
        if sender and path == CHECKED_BODIES_PATH and REFERENCE_PATTERN.match(reference):
            by_sender[sender].append(reference)
    return dict(by_sender)
