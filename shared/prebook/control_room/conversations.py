"""Conversations for commands and the page: find one by a reference, and read its timeline from all services."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from prebook.contracts.booking import LedgerClocks, PlanClocks
from prebook.contracts.conversations import (
    ConversationChange,
    ConversationList,
    ConversationRecords,
    ConversationSummary,
    ParkedRecord,
    ParkedRecords,
)
from prebook.contracts.plan import Coupling, plan_label
from prebook.contracts.ride import BookingState
from prebook.control_room.conversation_timeline import MAX_MESSAGES, MessageTrace, trace_messages
from prebook.control_room.message_ids import conversation_of
from prebook.flows import CONSOLE, OPERATIONS, PROCESSES
from prebook.http.client import limit_exchange
from prebook.http.signed_client import CallAuth
from prebook.messaging.errors import Unreachable

REQUEST_TIMEOUT_S = 5.0
CLOCK_WINDOW_S = 600
"""Window of the clocks of all plans, in seconds: those of the present run, for comparison."""
OPEN_STATES = frozenset({BookingState.REQUESTED.value, BookingState.PRICED.value, BookingState.MATCHED.value})
T = TypeVar("T")


class UnknownReference(Exception):
    """No booking or trip has this id, Idempotency-Key or message."""


class AmbiguousReference(Exception):
    """Several riders have used this Idempotency-Key; the text lists the ids of their bookings and trips."""


class ConversationTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """Response of ``GET /v1/conversations/{reference}``: one booking or trip, and its messages. No rider data."""

    id: str
    plan: str
    couplings: dict[str, Coupling]
    state: str
    reason: str | None
    requested_at: datetime
    """When the rider's request arrived. The clocks begin here."""
    settled_at: datetime | None
    notified_at: datetime | None
    history: tuple[ConversationChange, ...]
    related: tuple[str, ...]
    """The trip that a leg belongs to, or the legs of a trip."""
    trace_ids: tuple[str, ...]
    """Values of ``trace_id`` in the log lines of its messages."""
    lanes: tuple[str, ...]
    """Services that take part, in the order of their first message."""
    messages: tuple[MessageTrace, ...]
    is_complete: bool
    """False if a service did not answer, or has more records than it tells."""
    missing: dict[str, str]
    """Processes that did not answer, with the reason."""
    clock_window_s: int
    plans: tuple[PlanClocks, ...]
    """Clocks of the bookings of every plan in the last ``clock_window_s`` seconds."""


@dataclass(frozen=True, repr=False)
class ConversationReader:
    """Reads conversations from the internal listeners of the services."""

    client: httpx.AsyncClient
    process_urls: Mapping[str, str]
    """Base URL of the internal listener of each process; replicas have the names ``<service>-<n>``."""
    secrets: Callable[[], Sequence[str]]
    """Returns the active secrets by which the console signs its calls."""

    async def read(self, reference: str) -> ConversationTimeline:
        """Return the timeline of the conversation with this booking id, trip id, Idempotency-Key or message id.

        Raises UnknownReference, AmbiguousReference, or Unreachable if booking does not answer.
        """
        summary = await self._find(reference)
        processes = [name for name in self.process_urls if _service_of(name) in PROCESSES]
        path = f"/v1/conversations/{summary.id}"
        results = await asyncio.gather(
            *(self._get(process, path, ConversationRecords) for process in processes), return_exceptions=True
        )
        parked, parking_error = await self._read_parked(summary.id)
        clocks = await self._get("booking", f"/v1/ledger/clocks?window_s={CLOCK_WINDOW_S}", LedgerClocks)
        records = [result for result in results if isinstance(result, ConversationRecords)]
        missing = {
            process: str(result)
            for process, result in zip(processes, results, strict=True)
            if isinstance(result, BaseException)
        } | parking_error
        return create_timeline(summary, records, parked, missing, clocks)

    async def _find(self, reference: str) -> ConversationSummary:
        for candidate in dict.fromkeys((reference, conversation_of(reference))):
            path = f"/v1/conversations?reference={quote(candidate, safe='')}"
            found = (await self._get("booking", path, ConversationList)).conversations
            if len(found) > 1:
                raise AmbiguousReference(", ".join(summary.id for summary in found))
            if found:
                return found[0]
        raise UnknownReference(reference)

    async def _read_parked(self, conversation_id: str) -> tuple[Sequence[ParkedRecord], dict[str, str]]:
        try:
            path = f"/v1/dead-letters/conversations/{conversation_id}"
            return (await self._get(OPERATIONS, path, ParkedRecords)).parked, {}
        except Unreachable as error:
            return (), {OPERATIONS: str(error)}

    async def _get(self, process: str, path: str, response_type: type[T]) -> T:
        url = self.process_urls[process]
        auth = CallAuth(CONSOLE, self.secrets(), _service_of(process))
        async with limit_exchange(url, REQUEST_TIMEOUT_S):
            response = await self.client.get(url + path, auth=auth)
        if not response.is_success:
            raise Unreachable(f"{process} answered {response.status_code} to {path}", reason="unreachable")
        return msgspec.json.decode(response.content, type=response_type)


def create_timeline(
    summary: ConversationSummary,
    records: Sequence[ConversationRecords],
    parked: Sequence[ParkedRecord],
    missing: Mapping[str, str],
    clocks: LedgerClocks,
) -> ConversationTimeline:
    """Return the timeline of a conversation, from what the services have answered."""
    messages = trace_messages(summary, records, parked)
    ends = [service for each in messages for service in (each.sender, each.receiver) if service]
    trace_ids = [sent.trace_id for each in records for sent in each.sent if sent.trace_id]
    return ConversationTimeline(
        id=summary.id,
        plan=plan_label(summary.couplings),
        couplings=summary.couplings,
        state=summary.history[-1].state,
        reason=summary.reason,
        requested_at=summary.requested_at,
        settled_at=next((change.at for change in summary.history if change.state not in OPEN_STATES), None),
        notified_at=summary.notified_at,
        history=summary.history,
        related=summary.related,
        trace_ids=tuple(dict.fromkeys(trace_ids)),
        lanes=tuple(dict.fromkeys(ends)),
        messages=tuple(messages),
        is_complete=not missing and all(each.is_complete for each in records) and len(messages) < MAX_MESSAGES,
        missing=dict(missing),
        clock_window_s=clocks.window_s,
        plans=clocks.plans,
    )


def _service_of(process: str) -> str:
    return process.partition("-")[0]
