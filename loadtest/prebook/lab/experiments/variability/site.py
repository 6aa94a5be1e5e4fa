"""Site of a trial: running services and load, which the trial observes, and repairs as an operator does."""

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import aiohttp
import msgspec

from prebook.contracts.dead_letters import DeadLetterSelection, DeadLetterSummary
from prebook.contracts.pricing import QuoteFare
from prebook.contracts.replays import ReplayRequest, ReplayView
from prebook.flows import OPERATIONS, QUOTE_FARE, SERVICES
from prebook.lab.experiments.testbed import connect_as_admin
from prebook.lab.experiments.variability.cell import Observation, TrialTimes, count_served
from prebook.lab.experiments.variability.deployments import Deployments
from prebook.lab.experiments.variability.further_subscriber import FurtherSubscriber
from prebook.lab.experiments.variability.steady_load import SteadyLoad
from prebook.lab.ledger.accounts import RideAccount, build_accounts
from prebook.lab.load.rides import nth_ride
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable, read_parked_messages
from prebook.messaging.addresses import PARTNER_REPLIES, request_routing_key
from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.outbox_admin import OutboxAdmin
from prebook.pricing.domain.campaign import discount_cents
from prebook.pricing.domain.fare import fare_of

POLL_INTERVAL_S = 1.0
REPLAY_TIMEOUT_S = 60.0
ABANDONED = (OutboxState.EXPIRED, OutboxState.UNDELIVERABLE)
CALL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


@dataclass
class TrialSite:
    """Running suite to which a variation is applied.

    ``away_s``: seconds for which a side is away, if that is the change.
    """

    deployments: Deployments
    load: SteadyLoad
    session: aiohttp.ClientSession = field(repr=False)
    database_url: str = field(repr=False)
    away_s: float
    amqp_url: str = field(repr=False)
    """Broker, as its administrator."""
    cleanup: AsyncExitStack = field(repr=False)
    """Contexts that end with the trial."""
    moved_to: str = ""
    """Base URL of a service that was deployed at another address."""
    subscriber: FurtherSubscriber | None = None

    @property
    def _suite(self) -> SuiteClient:
        return SuiteClient(self.session, self.deployments.addresses)

    async def observe(self) -> dict[str, Observation]:
        """Return what is known now about the rides of each plan. Raises SuiteUnreachable."""
        rows = await self._suite.read_ledger(self.load.key_prefix)
        parked_ids = await self._read_parked_ids()
        accounts = build_accounts(tuple(self.load.samples), rows, ())
        parked = {account.sample.key for account in accounts if account.booking_id in parked_ids}
        wrong = {account.sample.key for account in accounts if self._is_wrong(account)}
        return {
            label: Observation(
                [account for account in accounts if account.sample.label == label], frozenset(parked), frozenset(wrong)
            )
            for label in self.load.plans
        }

    async def subscribe(self) -> None:
        """Let a further subscriber to the requests of ``quote_fare`` join until the trial ends."""
        opening = FurtherSubscriber.open(self.amqp_url, request_routing_key(QUOTE_FARE.name))
        self.subscriber = await self.cleanup.enter_async_context(opening)

    async def wait_until_answered(self, rides: int, timeout_s: float) -> None:
        """Wait until ``rides`` rides of each plan are answered, for at most ``timeout_s`` seconds."""

        async def are_answered() -> bool | None:
            found = await self.observe()
            return all(sum(a.answered for a in seen.accounts) >= rides for seen in found.values()) or None

        with suppress(TimeoutError):
            await poll_until(are_answered, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)

    async def observe_steady(self, times: TrialTimes, rides: int, timeout_s: float) -> dict[str, Observation]:
        """Return an observation once ``rides`` steady rides of each plan are served, or after ``timeout_s`` seconds."""

        async def find_served() -> dict[str, Observation] | None:
            found = await self.observe()
            return found if all(count_served(seen, times) >= rides for seen in found.values()) else None

        with suppress(TimeoutError):
            return await poll_until(find_served, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
        return await self.observe()

    async def wait_until_at_rest(self, timeout_s: float) -> None:
        """Wait until every ride has an outcome, for at most ``timeout_s`` seconds."""

        async def is_at_rest() -> bool | None:
            with suppress(SuiteUnreachable):
                found = await self.observe()
                return all(map(has_outcome, (a for each in found.values() for a in each.accounts))) or None
            return None

        with suppress(TimeoutError):
            await poll_until(is_at_rest, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)

    async def send_again(self) -> None:
        """Replay all dead letters, and send what senders gave up, as an operator does after a repair."""
        if dead_letters := await self._read_dead_letters():
            await self._replay(dead_letters)
        async with connect_as_admin(self.database_url) as connection:
            for service in SERVICES:
                admin = OutboxAdmin(connection, service)
                await admin.resend(await admin.list_rows(ABANDONED, {}, None), ignore_expiry=True)

    async def _replay(self, dead_letters: Sequence[DeadLetterSummary]) -> None:
        url = f"{self.deployments.addresses.public[OPERATIONS]}/v1/replays"
        ids = tuple(dead_letter.id for dead_letter in dead_letters)
        request = ReplayRequest(selection=DeadLetterSelection(ids=ids), keep_going=True)
        view = await self._call_operations("POST", url, msgspec.json.encode(request))

        async def is_ended() -> bool | None:
            return (await self._call_operations("GET", f"{url}/{view.id}")).ended_at is not None or None

        await poll_until(is_ended, interval_s=POLL_INTERVAL_S, timeout_s=REPLAY_TIMEOUT_S)

    async def _call_operations(self, method: str, url: str, body: bytes = b"") -> ReplayView:
        headers = {**self.deployments.addresses.operator_headers, "content-type": "application/json"}
        async with self.session.request(method, url, data=body, headers=headers, timeout=CALL_TIMEOUT) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=ReplayView)

    async def _read_parked_ids(self) -> frozenset[str]:
        """Return the bookings with a message that waits for an operator."""
        dead_letters = await self._read_dead_letters()
        async with connect_as_admin(self.database_url) as connection:
            found = [await OutboxAdmin(connection, service).list_rows(ABANDONED, {}, None) for service in SERVICES]
        abandoned = {row.conversation_id for rows in found for row in rows}
        return frozenset(abandoned.union(dead_letter.conversation_id for dead_letter in dead_letters))

    async def _read_dead_letters(self) -> list[DeadLetterSummary]:
        """Return the dead letters between services, without the replies that partner fleets garble."""
        dead_letters = await read_parked_messages(self._suite)
        return [each for each in dead_letters if each.queue != PARTNER_REPLIES]

    def _is_wrong(self, account: RideAccount) -> bool:
        """Return whether a ride has a wrong fare, or is not known to the further subscriber."""
        row = account.row
        if row is None or row.fare_cents is None:
            return False
        if self.subscriber and not self.subscriber.knows(row.booking_id, account.sample.intended_at):
            return True
        return row.fare_cents != expected_fare_cents(self.load, account.sample.ride)


def expected_fare_cents(load: SteadyLoad, number: int) -> int:
    """Return the fare of a ride by the rules of pricing, less the discount of the campaign."""
    ride = nth_ride(load.seed, number, load.week)
    fare = fare_of(
        QuoteFare(
            pickup=ride.pickup,
            dropoff=ride.dropoff,
            pickup_at=ride.pickup_at,
            vehicle_class=ride.vehicle_class,
            passengers=ride.passengers,
        )
    )
    if not isinstance(fare, int):
        raise TypeError(f"ride {number} of seed {load.seed} has no fare: {fare}")
    return fare - discount_cents(fare)


def has_outcome(account: RideAccount) -> bool:
    """Return whether nothing more is to happen: a ride is settled, or it was not accepted."""
    return account.settled or (account.row is None and not account.sample.accepted)
