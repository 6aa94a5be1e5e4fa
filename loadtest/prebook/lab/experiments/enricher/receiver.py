"""Receiver process that enriches messages, before its transaction or inside it."""

import time
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.contracts.riders import RiderProfile
from prebook.http.client import ServiceClient
from prebook.lab.experiments import worker
from prebook.lab.experiments.patterns.receiver import (
    TIMEOUT_S,
    PatternReceiver,
    ReceiverSpec,
    ReceiverWork,
    SeededDefect,
)
from prebook.lab.experiments.worker import WorkerContext
from prebook.messaging.enrichment import Enricher
from prebook.messaging.handlers import HandlerContext, HandlerResult, HandlerSpec
from prebook.patterns.enricher import AbsencePolicy, Enrichment, EnrichmentCache

SERVICE = "pricing"
STORE = "profiles"
RIDERS = 8
"""Number of riders; messages of one rider ask for one profile."""
CACHE_ENTRIES = 100
LOOKUP_TIMEOUT_S = 5.0
LOCK_CAMPAIGN = text("UPDATE campaign_row SET quotes = quotes + 1")
LOCK_MESSAGE = text("UPDATE enriched SET begun_at = clock_timestamp() WHERE run = :run AND message = :message")
SAVE_OUTCOME = text("""
    UPDATE enriched SET outcome = :outcome, age_s = :age_s, locked_ms = :locked_ms, ended_at = clock_timestamp()
    WHERE run = :run AND message = :message""")
Profile = Enrichment[RiderProfile]


class EnrichingReceiverSpec(ReceiverSpec, frozen=True, kw_only=True):
    """Arguments of one process. ``inside``: whether the lookup is inside the transaction, the wrong way."""

    store_url: str
    policy: AbsencePolicy
    max_age_s: float
    inside: bool = False

    def __repr__(self) -> str:
        return "EnrichingReceiverSpec(<not printed: it holds secrets>)"


class EnrichingReceiver(PatternReceiver):
    """Receiver that quotes as pricing does: it locks the row of the message, and the only row of the campaign."""

    def __init__(self, context: WorkerContext, spec: EnrichingReceiverSpec) -> None:
        self._enriching_spec = spec
        self._http = ServiceClient({STORE: spec.store_url})
        self._cache: EnrichmentCache[str, RiderProfile] = EnrichmentCache(
            max_age_s=spec.max_age_s, max_entries=CACHE_ENTRIES
        )
        super().__init__(context, spec)

    def _handler(self) -> HandlerSpec[ReceiverWork]:
        if self._enriching_spec.inside:
            return HandlerSpec(self._look_up_and_apply)
        return HandlerSpec(self._apply, pre_transaction=self._look_up)

    async def _look_up(self, context: HandlerContext, _: Any) -> Profile:
        return await self._enricher(context.conversation_id).enrich(rider_of(context.conversation_id))

    def _enricher(self, message: str) -> Enricher[str, RiderProfile]:
        """Return an enricher on the one cache, whose lookup tells the store which message it is for."""
        spec = self._enriching_spec

        async def look_up(rider: str) -> RiderProfile:
            path = f"/{STORE}/{rider}?run={spec.run}&message={message}"
            response = await self._http.request("GET", STORE, path, headers={}, timeout_s=LOOKUP_TIMEOUT_S)
            return msgspec.json.decode(response.body, type=RiderProfile)

        return Enricher(look_up, spec.policy, self._cache)

    async def _look_up_and_apply(self, context: HandlerContext, body: Any, work: ReceiverWork) -> HandlerResult:
        began_s = await self._lock(context, work)
        return await self._save(context, await self._look_up(context, body), work, began_s)

    async def _apply(self, context: HandlerContext, found: Profile, work: ReceiverWork) -> HandlerResult:
        return await self._save(context, found, work, await self._lock(context, work))

    async def _lock(self, context: HandlerContext, work: ReceiverWork) -> float:
        await work.connection.execute(LOCK_MESSAGE, self._row(context))
        await work.connection.execute(LOCK_CAMPAIGN, {})
        return time.monotonic()

    async def _save(self, context: HandlerContext, found: Profile, work: ReceiverWork, began_s: float) -> HandlerResult:
        spec = self._enriching_spec
        if spec.defect is SeededDefect.LOSE and context.conversation_id == spec.defective_message:
            return HandlerResult()
        locked_ms = 1000 * (time.monotonic() - began_s)
        outcome = {"outcome": found.outcome.value, "age_s": found.age_s, "locked_ms": locked_ms}
        await work.connection.execute(SAVE_OUTCOME, {**self._row(context), **outcome})
        return HandlerResult()

    def _row(self, context: HandlerContext) -> dict[str, str]:
        return {"run": self._enriching_spec.run, "message": context.conversation_id}


def rider_of(message: str) -> str:
    """Return the rider of a message, by its number."""
    return f"rider-{int(message.rpartition('-')[2]) % RIDERS}"


def run(spec: EnrichingReceiverSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(SERVICE, spec, lambda context: EnrichingReceiver(context, spec).run(), timeout_s=TIMEOUT_S)
