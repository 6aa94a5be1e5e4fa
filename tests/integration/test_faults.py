"""Parts are killed, stopped and cut off in the middle of rides: nothing is lost, nothing is doubled."""

import asyncio
import signal
from functools import partial

import httpx
import msgspec
import psutil
import pytest

from prebook.contracts.plan import Coupling, Plan
from prebook.devstack.supervisor.contract import ProcessState
from prebook.flows import PROCESSES, SERVICES
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_counter, read_message_counter
from tests.integration.rabbitmqctl import run_rabbitmqctl
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite

pytestmark = pytest.mark.real
QUEUED: tuple[Plan, ...] = tuple(
    uniform_plan(c) for c in (Coupling.ASYNC_API, Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
)
EXPIRED_IN_QUEUE = "prebook_requests_expired_in_queue_total"
DOWN_S, STOPS_WITHIN_S = 3.0, 10.0
DEADLINE_S = POLICIES["quote_fare"].deadline_s


async def test_pricing_is_killed_and_comes_back(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    async with offer_rides(rider, QUEUED) as queued, offer_rides(rider, [uniform_plan(Coupling.SYNC_API)]) as called:
        await control.kill("pricing", DOWN_S)
        await control.wait_until_all_running()
    assert queued.refusals == [], "who need not reach pricing now takes every ride"
    assert all_in_state(await database.verify_bookings(queued.ids), "confirmed")
    states = await database.verify_bookings(called.ids)
    assert set(states.values()) <= {"failed", "confirmed"}
    assert "failed" in states.values() or called.refusals, "who must reach pricing now fails, or takes no ride"
    for refusal in called.refusals:
        assert (refusal.status_code, refusal.json()["code"]) == (503, "pricing_unavailable")
        assert int(refusal.headers["retry-after"]) >= 1


@pytest.mark.parametrize("farewell", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
async def test_every_service_ends_in_turn_under_load(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient, farewell: signal.Signals
) -> None:
    statuses = {}
    async with offer_rides(rider, QUEUED, retry=True) as stream:
        for service in PROCESSES:
            pid = await control.read_pid(service)
            await asyncio.to_thread(_ended, pid, farewell)
            await poll_until(partial(_another_runs, control, service, pid), 30)
            statuses[service] = (await control.list_processes())[service].last_status
    assert set(statuses.values()) == {0 if farewell is signal.SIGTERM else -farewell}
    assert all_in_state(await database.verify_bookings(stream.ids, allow_expired=True), "confirmed")


def _ended(pid: int, farewell: signal.Signals) -> None:
    process = psutil.Process(pid)
    process.send_signal(farewell)
    try:
        process.wait(STOPS_WITHIN_S)
    except psutil.TimeoutExpired:
        raise AssertionError(f"it goes on {STOPS_WITHIN_S:g} s after {farewell.name}") from None


async def _another_runs(control: ControlClient, service: str, before: int) -> bool:
    info = (await control.list_processes())[service]
    return info.state is ProcessState.RUNNING and info.pid not in {None, before}


async def test_an_outage_of_the_database_is_not_charged_to_the_messages(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    """Pricing is refused every connection for longer than all its attempts would last."""
    before = [
        await read_message_counter(suite, turn, "pricing", flow="quote_fare") for turn in ("retried", "dead_lettered")
    ]
    await database.connection.execute("ALTER ROLE prebook_pricing NOLOGIN")
    try:
        await database.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'prebook_pricing'"
        )
        ids = [await rider.prebook(plan) for plan in QUEUED for _ in range(5)]
        await asyncio.sleep(2 * sum(POLICIES["quote_fare"].backoff_s))  # the outage lasts so long
    finally:
        await database.connection.execute("ALTER ROLE prebook_pricing LOGIN")
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    after = [
        await read_message_counter(suite, turn, "pricing", flow="quote_fare") for turn in ("retried", "dead_lettered")
    ]
    assert after == before, "no attempt was used up"


async def test_every_connection_to_the_database_is_cut(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    cut = 0
    async with offer_rides(rider, QUEUED, retry=True) as stream:
        for _ in range(4):
            cut += await database.fetch_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'prebook\\_%'"
                " AND usename <> current_user"
            )
            at = len(stream.ids)
            await poll_until(partial(_more_than, stream.ids, at + 3), 20)
    assert cut > 4 * len(SERVICES)
    assert all_in_state(await database.verify_bookings(stream.ids, allow_expired=True), "confirmed")


async def _more_than(ids: list[str], count: int) -> bool:
    return len(ids) > count


async def test_the_broker_stops_and_starts_again(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient
) -> None:
    plans = [uniform_plan(Coupling.ONE_WAY), uniform_plan(Coupling.REQUEST_REPLY)]
    async with offer_rides(rider, plans) as stream:
        await asyncio.to_thread(run_rabbitmqctl, suite.state, "stop_app")
        await poll_until(lambda: _says(suite, 503, {"broker (publishing)", "broker (consuming)"}), 20)
        during = len(stream.ids)
        await asyncio.to_thread(run_rabbitmqctl, suite.state, "start_app")
        await poll_until(lambda: _says(suite, 200, set()), 30)
    assert during
    assert stream.refusals == [], "rides are accepted while the broker is away"
    assert all_in_state(await database.verify_bookings(stream.ids, allow_expired=True), "confirmed")


async def _says(suite: Suite, status: int, missing: set[str]) -> bool:
    """Whether every service says that it lacks just these parts."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answers = [await http.get(f"{suite.state.urls[service]}/readyz") for service in SERVICES]
    return all(a.status_code == status and a.json()["missing"].keys() == missing for a in answers)


async def test_pricing_is_away_for_longer_than_the_deadline(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    dropped = await read_counter(suite, EXPIRED_IN_QUEUE)
    await control.kill("pricing", DEADLINE_S + 1)
    ids = await rider.prebook_all(QUEUED)
    assert all_in_state(await database.wait_until_settled(ids), "expired")
    await control.wait_until_all_running()
    assert all_in_state(await database.verify_bookings(ids, allow_expired=True), "expired"), (
        "and stays so when pricing is back"
    )
    views = [await rider.fetch_view(booking_id) for booking_id in ids]
    for view in views:
        waited = (view.history[-1].at - view.history[0].at).total_seconds()
        assert DEADLINE_S <= waited < DEADLINE_S + 3
    await poll_until(partial(_dropped, suite, dropped + 2), 15)
    await broker.collect_parked(0)


async def _dropped(suite: Suite, count: float) -> bool:
    """Questions whose time was up in their queues: nobody has to decide about them."""
    return await read_counter(suite, EXPIRED_IN_QUEUE) == count


SLOW = f"""
    CREATE FUNCTION pricing.dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep({DEADLINE_S + 1.0}); RETURN NEW; END $$;
    CREATE TRIGGER dawdle BEFORE INSERT ON pricing.discount_grant FOR EACH ROW WHEN (NEW.state = 'granted')
        EXECUTE FUNCTION pricing.dawdle()"""
LATE = "SELECT message FROM pricing.outbox WHERE conversation_id = $1 AND kind = 'reply' AND state = 'expired'"


async def test_an_answer_after_the_deadline_changes_nothing(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    await database.connection.execute(SLOW)
    try:
        booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY))
        assert all_in_state(await database.wait_until_settled([booking_id]), "expired")
        await poll_until(partial(_holds, database, LATE, booking_id))
    finally:
        await database.connection.execute("DROP FUNCTION pricing.dawdle CASCADE")
    view, before = await rider.fetch_view(booking_id), await read_message_counter(suite, "duplicate", "booking")
    # Pricing itself keeps it to itself by now; one that was on its way already comes as this one does.
    row = msgspec.json.decode(await database.fetch_value(LATE, booking_id))
    await broker.send(addresses.REPLIES, "booking", WireMessage(row["headers"], row["body"].encode()))
    await poll_until(partial(_counted_up, suite, before + 1))
    assert await rider.fetch_view(booking_id) == view
    assert all_in_state(await database.verify_bookings([booking_id], allow_expired=True), "expired")


async def _holds(database: DatabaseProbe, query: str, *arguments: str) -> bool:
    return await database.fetch_value(query, *arguments) is not None


async def _counted_up(suite: Suite, duplicates: float) -> bool:
    return await read_message_counter(suite, "duplicate", "booking") == duplicates
