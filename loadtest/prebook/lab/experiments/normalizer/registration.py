"""Registration of the experiment: garbled and unknown replies of partners, while fleets is killed."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import asyncpg
import rich_click as click
from prometheus_client.parser import text_string_to_metric_families

from prebook.contracts.distance import ride_minutes
from prebook.contracts.fleets import AskFleet, FleetDeclined, FleetOffered
from prebook.contracts.partners import PartnerCondition
from prebook.fleets.domain.message_translators import TRANSLATORS
from prebook.fleets.partners.registry import partners
from prebook.flows import ASK_FLEET, OPERATIONS
from prebook.lab.bench.testbed import wait_until
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.normalizer.laws import (
    ACCOUNTED,
    CAUSES,
    COUNTED,
    GOLDEN,
    IDENTITY,
    KEPT,
    PARKED,
    RIGHT,
    VALUES,
    WRONG,
    Exchange,
    ExchangesSeen,
    KeptReply,
    count_unreadable,
    count_wrong_casts,
    count_wrong_offers,
    exchange_checks,
    pair_checks,
)
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import QuietPeriod
from prebook.lab.experiments.patterns.size import LOSE_ONLY, defect_option
from prebook.lab.experiments.service_processes import ServiceProcesses
from prebook.lab.experiments.stub_caller import StubCaller
from prebook.lab.experiments.testbed import connect_as_admin
from prebook.lab.faults.partners import impose
from prebook.lab.load.rides import campaign_week, nth_ride
from prebook.lab.suite_client.services import SuiteClient, read_parked_messages
from prebook.messaging import addresses
from prebook.messaging.envelope import message_id
from prebook.patterns.normalizer import ForeignMessage

SERVICES = (ASK_FLEET.provider, OPERATIONS)
SETTINGS = {"PREBOOK_PARTNER_WIRE": "http"}
CONDITION_S = 300.0
"""Longer than a batch."""
REST_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05
METRIC = "prebook_partner_replies_total"
REPLY_ID_SUFFIX = ".partner_reply"
SELECT_DEAD_LETTERS = "SELECT message_id, cause, type, payload FROM operations.dead_letter WHERE queue = $1"
COUNT_RECORDED = "SELECT count(*) FROM fleets.unreadable_reply"
# One unreadable reply is forgotten between its request's transaction and its parking.
FORGET_REPLY = """
    CREATE FUNCTION fleets.lab_forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER lab_forget BEFORE INSERT ON fleets.unreadable_reply FOR EACH ROW
        WHEN (NEW.booking_id = '{booking}' AND NEW.fleet = '{fleet}') EXECUTE FUNCTION fleets.lab_forget()"""


class NormalizerSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: rides of each of two batches, for which every partner is asked; and a defect to seed."""

    rides: int = 100
    defect: SeededDefect = SeededDefect.NONE


@dataclass
class NormalizerRun:
    """Fleets and operations, and requests to all partners in the place of matching."""

    run: ExperimentRun
    services: ServiceProcesses
    matching: StubCaller
    database: asyncpg.Connection
    prefix: str
    requests: dict[str, AskFleet] = field(default_factory=dict)
    """All requests so far, by id."""

    @classmethod
    @asynccontextmanager
    async def start(cls, run: ExperimentRun) -> AsyncIterator[Self]:
        """Run both services while the block runs."""
        async with (
            connect_as_admin(run.testbed.context.database_url) as database,
            StubCaller.open(run.testbed, ASK_FLEET) as matching,
            ServiceProcesses.run(run.testbed, SERVICES, SETTINGS) as services,
        ):
            yield cls(run, services, matching, database, f"bk_{secrets.token_hex(4)}")

    @property
    def conditions(self) -> dict[str, PartnerCondition]:
        """Two partners, chosen by the seed, and their conditions."""
        chosen = random.Random(f"partners:{self.run.seed}").sample(sorted(TRANSLATORS), len(CAUSES))
        return dict(zip(chosen, CAUSES, strict=True))

    async def request_batch(self, first: int, rides: int, *, is_killed: bool) -> list[str]:
        """Ask all partners for each ride, and kill fleets midway if wanted; return the ids once all have replied."""
        for partner, condition in self.conditions.items():
            await impose(self.services.access, partner, condition, CONDITION_S)
        week = campaign_week(datetime.now(UTC))
        batch = [
            (f"{self.prefix}{number:05d}", request)
            for number in range(first, first + rides)
            for request in requests_for(self.run.seed, number, week)
        ]
        ids = [message_id(booking_id, ASK_FLEET.name, request.fleet) for booking_id, request in batch]
        self.requests |= dict(zip(ids, (request for _, request in batch), strict=True))
        half = len(batch) // 2
        await self._send(batch[:half])
        if is_killed:
            await self._wait_for_replies(ids, half // 2)
            await self.services.kill(ASK_FLEET.provider)
        await self._send(batch[half:])
        if is_killed:
            await self.services.wait_until_ready(ASK_FLEET.provider)
        await self._wait_for_replies(ids, len(ids))
        return ids

    async def forget_a_reply(self) -> None:
        """Let fleets forget the unreadable reply to the first ride."""
        fleet = next(iter(self.conditions))
        await self.database.execute(FORGET_REPLY.format(booking=f"{self.prefix}00000", fleet=fleet))

    async def wait_until_parked(self) -> None:
        """Wait until every unreadable reply is parked; where one is lost, until nothing changes any more."""
        quiet = QuietPeriod()
        unreadable = count_unreadable(await self.read_exchanges({}))

        async def is_parked() -> bool:
            recorded = await self.database.fetchval(COUNT_RECORDED)
            listed = await self.count_listed()
            return not recorded and (listed >= unreadable or quiet.is_over(listed))

        await wait_until(is_parked, REST_TIMEOUT_S, POLL_INTERVAL_S)

    async def count_listed(self) -> int:
        """Return the number of partners' replies that operations lists, as `prebook parking list` shows them."""
        access = self.services.access
        suite = SuiteClient(access.session, access.addresses)
        return len(await read_parked_messages(suite, queue=addresses.PARTNER_REPLIES))

    async def count_metric(self) -> int:
        """Return how many unreadable replies the present process of fleets has counted."""
        url = f"{self.services.access.addresses.internal[ASK_FLEET.provider]}/metrics"
        async with self.services.access.session.get(url, raise_for_status=True) as response:
            families = text_string_to_metric_families(await response.text())
        samples = (sample for family in families for sample in family.samples if sample.name == METRIC)
        return sum(int(sample.value) for sample in samples if sample.labels["outcome"] in set(CAUSES.values()))

    async def read_dead_letters(self) -> dict[str, list[KeptReply]]:
        """Return the dead letters by request id."""
        found: dict[str, list[KeptReply]] = {}
        for row in await self.database.fetch(SELECT_DEAD_LETTERS, addresses.PARTNER_REPLIES):
            kept = KeptReply(row["cause"], row["type"], row["payload"])
            found.setdefault(row["message_id"].removesuffix(REPLY_ID_SUFFIX), []).append(kept)
        return found

    async def read_exchanges(self, kept: dict[str, list[KeptReply]]) -> list[Exchange]:
        """Return what became of all requests so far, in their order. ``kept``: dead letters by request id."""
        sent = await asyncio.gather(*(self._ask_partner(request) for request in self.requests.values()))
        return [
            Exchange(
                fleet=request.fleet,
                sent=message,
                reply=reply if isinstance(reply, FleetOffered | FleetDeclined) else None,
                kept=tuple(kept.get(request_id, ())),
            )
            for (request_id, request), message in zip(self.requests.items(), sent, strict=True)
            for reply in [self.matching.replies.get(request_id)]
        ]

    async def _ask_partner(self, request: AskFleet) -> ForeignMessage:
        """Return the reply of the same partner in this process, where it is in good health."""
        healthy = partners(self.run.testbed.options.seed)[request.fleet]
        return await healthy(TRANSLATORS[request.fleet].encode_request(request))

    async def _send(self, batch: Sequence[tuple[str, AskFleet]]) -> None:
        for booking_id, request in batch:
            await self.matching.send(booking_id, request, request.fleet)

    async def _wait_for_replies(self, ids: Collection[str], expected: int) -> None:
        async def have_come() -> bool:
            return sum(request_id in self.matching.replies for request_id in ids) >= expected

        await wait_until(have_come, REST_TIMEOUT_S, POLL_INTERVAL_S)


async def measure(run: ExperimentRun, size: NormalizerSize) -> Measurement:
    """Ask the partners for two batches of rides, the first with a kill, while two of them cannot be understood."""
    week = campaign_week(datetime.now(UTC))
    async with NormalizerRun.start(run) as normalizer:
        if size.defect is SeededDefect.LOSE:
            await normalizer.forget_a_reply()
        disturbed = await normalizer.request_batch(0, size.rides, is_killed=True)
        run.log(f"{len(disturbed)} requests answered, {ASK_FLEET.provider} killed meanwhile")
        before = await normalizer.count_metric()
        await normalizer.request_batch(size.rides, size.rides, is_killed=False)
        counted = await normalizer.count_metric() - before
        await normalizer.wait_until_parked()
        exchanges = await normalizer.read_exchanges(await normalizer.read_dead_letters())
        seen = ExchangesSeen(
            exchanges=exchanges,
            since_restart=exchanges[len(disturbed) :],
            listed=await normalizer.count_listed(),
            counted=counted,
        )
    pairs = [request for number in range(size.rides) for request in requests_for(run.seed, number, week)]
    return Measurement(checks=[*pair_checks(pairs), *exchange_checks(seen)], tables=[_table(exchanges)])


def requests_for(seed: int, number: int, week: datetime) -> list[AskFleet]:
    """Return the request for a ride to each partner."""
    ride = nth_ride(seed, number, week)
    return [
        AskFleet(
            fleet=fleet,
            pickup=ride.pickup,
            pickup_at=ride.pickup_at,
            ride_minutes=ride_minutes(ride.pickup, ride.dropoff),
            vehicle_class=ride.vehicle_class,
            passengers=ride.passengers,
        )
        for fleet in TRANSLATORS
    ]


def _table(exchanges: Sequence[Exchange]) -> ResultTable:
    def cells(own: Sequence[Exchange]) -> tuple[int, ...]:
        causes = [kept.cause for each in own for kept in each.kept]
        offers = sum(isinstance(each.reply, FleetOffered) for each in own)
        translated = sum(each.is_translated for each in own)
        parked = (causes.count(cause) for cause in CAUSES.values())
        return (len(own), offers, translated - offers, *parked, count_wrong_offers(own), count_wrong_casts(own))

    return ResultTable.by_arrangement(
        "Replies of the partners",
        (
            "partner",
            "requests",
            "offers",
            "refusals",
            *(f"parked: {cause.replace('_', ' ')}" for cause in CAUSES.values()),
            "wrong minutes, translated",
            "wrong minutes, cast",
        ),
        {fleet: [each for each in exchanges if each.fleet == fleet] for fleet in TRANSLATORS},
        cells,
        f"{ASK_FLEET.provider} is killed once in the first half",
    )


NORMALIZER = Experiment(
    name="normalizer",
    section=Section.PATTERNS,
    claims=("D5",),
    pattern="Message Translator; Normalizer; Invalid Message Channel (EIP)",
    code="shared/prebook/patterns/normalizer.py",
    claim="Partners in four formats give the same offers; a reply that no translator reads is kept with its cause.",
    varies="two partners send garbled replies and those of an unknown version; fleets is killed",
    law=f"{GOLDEN}; {IDENTITY}; {VALUES}; {ACCOUNTED}; {PARKED}; {KEPT}; {COUNTED}",
    wrong_way=f"{WRONG}: it takes the number in a reply for minutes, whoever sent it",
    expected=f"With {RIGHT} every offer has the partner's minutes; {WRONG}, those in other units are wrong.",
    full=NormalizerSize(),
    quick=NormalizerSize(rides=12),
    options=(
        SizeOption("rides", click.IntRange(4, 5_000), "Number of rides of each of two batches."),
        defect_option(LOSE_ONLY, "an unreadable reply is forgotten"),
    ),
    measure=measure,
)
