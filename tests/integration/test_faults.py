"""Services, broker and database fail under load: no booking is lost and none is duplicated."""

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
ASYNCHRONOUS_PLANS: tuple[Plan, ...] = tuple(
    uniform_plan(c) for c in (Coupling.ASYNC_API, Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
)
EXPIRED_IN_QUEUE = "prebook_requests_expired_in_queue_total"
DOWN_S = 3.0
STOP_TIMEOUT_S = 10.0
DEADLINE_S = POLICIES["quote_fare"].deadline_s


async def test_a_killed_provider_affects_only_synchronous_rides(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    async with (
        offer_rides(rider, ASYNCHRONOUS_PLANS) as asynchronous,
        offer_rides(rider, [uniform_plan(Coupling.SYNC_API)]) as synchronous,
    ):
        await control.kill("pricing", DOWN_S)
        await control.wait_until_all_running()
    assert asynchronous.refusals == [], "asynchronous rides are accepted while pricing is down"
    assert all_in_state(await database.verify_bookings(asynchronous.ids), "confirmed")
    states = await database.verify_bookings(synchronous.ids)
    assert set(states.values()) <= {"failed", "confirmed"}
    assert "failed" in states.values() or synchronous.refusals, "a synchronous ride fails or is refused"
    for refusal in synchronous.refusals:
        assert (refusal.status_code, refusal.json()["code"]) == (503, "pricing_unavailable")
        assert int(refusal.headers["retry-after"]) >= 1


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
async def test_services_that_stop_one_after_the_other_lose_no_ride(
    rider: RiderClient,
    database: DatabaseProbe,
    broker: BrokerProbe,
    control: ControlClient,
    stop_signal: signal.Signals,
) -> None:
    statuses = {}
    async with offer_rides(rider, ASYNCHRONOUS_PLANS, retry=True) as offers:
        for service in PROCESSES:
            pid = await control.read_pid(service)
            await asyncio.to_thread(_stop_process, pid, stop_signal)
            await poll_until(partial(_is_restarted, control, service, pid), 30)
            statuses[service] = (await control.list_processes())[service].last_status
    assert set(statuses.values()) == {0 if stop_signal is signal.SIGTERM else -stop_signal}
    assert all_in_state(await database.verify_bookings(offers.ids, allow_expired=True), "confirmed")


def _stop_process(pid: int, stop_signal: signal.Signals) -> None:
    process = psutil.Process(pid)
    process.send_signal(stop_signal)
    try:
        process.wait(STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        raise AssertionError(f"process {pid} is still running {STOP_TIMEOUT_S:g} s after {stop_signal.name}") from None


async def _is_restarted(control: ControlClient, service: str, old_pid: int) -> bool:
    info = (await control.list_processes())[service]
    return info.state is ProcessState.RUNNING and info.pid not in {None, old_pid}


async def test_a_database_outage_uses_up_no_attempts(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    """The database refuses all connections of pricing for longer than all attempts of a message would take."""
    before = [
        await read_message_counter(suite, name, "pricing", flow="quote_fare") for name in ("retried", "dead_lettered")
    ]
    await database.connection.execute("ALTER ROLE prebook_pricing NOLOGIN")
    try:
        await database.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'prebook_pricing'"
        )
        ids = [await rider.prebook(plan) for plan in ASYNCHRONOUS_PLANS for _ in range(5)]
        await asyncio.sleep(2 * sum(POLICIES["quote_fare"].backoff_s))  # duration of the outage
    finally:
        await database.connection.execute("ALTER ROLE prebook_pricing LOGIN")
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    after = [
        await read_message_counter(suite, name, "pricing", flow="quote_fare") for name in ("retried", "dead_lettered")
    ]
    assert after == before, "no message was retried or dead-lettered"


async def test_closed_database_connections_lose_no_ride(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    closed_connections = 0
    async with offer_rides(rider, ASYNCHRONOUS_PLANS, retry=True) as offers:
        for _ in range(4):
            closed_connections += await database.fetch_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'prebook\\_%'"
                " AND usename <> current_user"
            )
            accepted = len(offers.ids)
            await poll_until(partial(_has_more_than, offers.ids, accepted + 3), 20)
    assert closed_connections > 4 * len(SERVICES)
    assert all_in_state(await database.verify_bookings(offers.ids, allow_expired=True), "confirmed")


async def _has_more_than(ids: list[str], count: int) -> bool:
    return len(ids) > count


async def test_rides_are_accepted_during_a_broker_outage_and_completed_after_it(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient
) -> None:
    plans = [uniform_plan(Coupling.ONE_WAY), uniform_plan(Coupling.REQUEST_REPLY)]
    async with offer_rides(rider, plans) as offers:
        await asyncio.to_thread(run_rabbitmqctl, suite.state, "stop_app")
        await poll_until(lambda: _all_report(suite, 503, {"broker (publishing)", "broker (consuming)"}), 20)
        accepted_during_outage = len(offers.ids)
        await asyncio.to_thread(run_rabbitmqctl, suite.state, "start_app")
        await poll_until(lambda: _all_report(suite, 200, set()), 30)
    assert accepted_during_outage
    assert offers.refusals == [], "rides are accepted while the broker is down"
    assert all_in_state(await database.verify_bookings(offers.ids, allow_expired=True), "confirmed")


async def _all_report(suite: Suite, status: int, missing: set[str]) -> bool:
    """Return whether every service responds with ``status`` and names exactly the ``missing`` dependencies."""
    async with httpx.AsyncClient(trust_env=False) as http:
        responses = [await http.get(f"{suite.state.urls[service]}/readyz") for service in SERVICES]
    return all(each.status_code == status and each.json()["missing"].keys() == missing for each in responses)


async def test_rides_expire_when_a_provider_is_down_beyond_the_deadline(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    expired_before = await read_counter(suite, EXPIRED_IN_QUEUE)
    await control.kill("pricing", DEADLINE_S + 1)
    ids = await rider.prebook_all(ASYNCHRONOUS_PLANS)
    assert all_in_state(await database.wait_until_settled(ids), "expired")
    await control.wait_until_all_running()
    assert all_in_state(await database.verify_bookings(ids, allow_expired=True), "expired"), (
        "the state does not change when pricing is back"
    )
    views = [await rider.fetch_view(booking_id) for booking_id in ids]
    for view in views:
        waited_s = (view.history[-1].at - view.history[0].at).total_seconds()
        assert DEADLINE_S <= waited_s < DEADLINE_S + 3
    await poll_until(partial(_is_expired_count, suite, expired_before + 2), 15)
    await broker.collect_parked(0)


async def _is_expired_count(suite: Suite, count: float) -> bool:
    """Return whether ``count`` requests have expired in their queues, where they are dropped and not parked."""
    return await read_counter(suite, EXPIRED_IN_QUEUE) == count


HALF_DELAY_S = DEADLINE_S / 2 + 0.5
"""Delay of each of two statements of one transaction: a single one would exceed the limit of a statement."""
DELAY_REPLIES = f"""
    CREATE FUNCTION pricing.delay_reply() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep({HALF_DELAY_S}); RETURN NEW; END $$;
    CREATE TRIGGER delay_reply BEFORE INSERT ON pricing.discount_grant FOR EACH ROW WHEN (NEW.state = 'granted')
        EXECUTE FUNCTION pricing.delay_reply();
    CREATE TRIGGER delay_reply BEFORE INSERT ON pricing.outbox FOR EACH ROW WHEN (NEW.kind = 'reply')
        EXECUTE FUNCTION pricing.delay_reply()"""
LATE_REPLY = "SELECT message FROM pricing.outbox WHERE conversation_id = $1 AND kind = 'reply' AND state = 'expired'"


async def test_a_reply_after_the_deadline_has_no_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe
) -> None:
    await database.connection.execute(DELAY_REPLIES)
    try:
        booking_id = await rider.prebook(uniform_plan(Coupling.REQUEST_REPLY))
        assert all_in_state(await database.wait_until_settled([booking_id]), "expired")
        await poll_until(partial(_exists, database, LATE_REPLY, booking_id))
    finally:
        await database.connection.execute("DROP FUNCTION pricing.delay_reply CASCADE")
    view = await rider.fetch_view(booking_id)
    duplicates = await read_message_counter(suite, "duplicate", "booking")
    # Pricing does not send an expired reply. This one arrives like a reply that was sent just before it expired.
    row = msgspec.json.decode(await database.fetch_value(LATE_REPLY, booking_id))
    await broker.send(addresses.REPLIES, "booking.quote_fare", WireMessage(row["headers"], row["body"].encode()))
    await poll_until(partial(_is_duplicate_count, suite, duplicates + 1))
    assert await rider.fetch_view(booking_id) == view
    assert all_in_state(await database.verify_bookings([booking_id], allow_expired=True), "expired")


async def _exists(database: DatabaseProbe, query: str, *arguments: str) -> bool:
    return await database.fetch_value(query, *arguments) is not None


async def _is_duplicate_count(suite: Suite, count: float) -> bool:
    return await read_message_counter(suite, "duplicate", "booking") == count
