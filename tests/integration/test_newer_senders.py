"""Senders of the newest versions, with a receiver that knows only the first: nothing is lost until its upgrade."""

from collections.abc import AsyncIterator, Iterator

import pytest

from prebook.contracts.plan import Coupling
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.older_receivers.suites import suite_with_older_matching, upgrade_matching
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite
from tests.integration.test_break_fix_replay import EXTEND_DEADLINES
from tests.integration.test_outbox import run_outbox
from tests.integration.test_parking import run_parking, wait_for_dead_letters

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
OUTCOMES = {
    Coupling.SYNC_API: "failed",
    Coupling.ASYNC_API: "confirmed",
    Coupling.ONE_WAY: "confirmed",
    Coupling.REQUEST_REPLY: "confirmed",
}
"""State of a ride after the upgrade and the replay; the caller of ``sync_api`` learns at once that it is refused."""
CAUSES = "SELECT coalesce(cause, '') FROM booking.outbox WHERE conversation_id = $1 AND flow = 'find_driver'"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with suite_with_older_matching(tmp_path_factory.mktemp("newer") / "home", "") as suite:
        yield suite


@pytest.fixture
async def delete_dead_letters(database: DatabaseProbe) -> AsyncIterator[None]:
    """Delete all dead letters after the test."""
    yield
    await database.connection.execute("DELETE FROM operations.dead_letter")


@pytest.mark.usefixtures("delete_dead_letters")
async def test_requests_that_a_receiver_cannot_read_are_kept_and_replayed_after_its_upgrade(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient
) -> None:
    ids = {coupling: await rider.prebook(uniform_plan(coupling)) for coupling in Coupling}
    dead_letters = await wait_for_dead_letters(suite, 3, cause="unknown_type")
    await database.connection.execute(EXTEND_DEADLINES, list(ids.values()))
    accepted = ids[Coupling.ASYNC_API]

    async def is_given_up() -> bool:
        return bool(await database.fetch_value(CAUSES, accepted))

    await poll_until(is_given_up, 60.0)
    assert {each["message_id"]: each["type"] for each in dead_letters} == {
        f"{ids[Coupling.ONE_WAY]}.find_driver": "prebook.find_driver.v3",
        f"{ids[Coupling.REQUEST_REPLY]}.find_driver": "prebook.find_driver.v3",
        f"{ids[Coupling.SYNC_API]}.booking_ended": "prebook.booking_ended.v3",
    }

    await upgrade_matching(suite, control)
    replay = await run_parking(suite, "replay", "--cause", "unknown_type", "--apply", "--wait")
    assert (replay["state"], replay["counts"]) == ("done", {"resolved": 3})
    await run_outbox(suite, "resend", "booking", "--conversation-id", accepted, "--apply")
    states = await database.wait_until_settled(list(ids.values()))
    assert {coupling: states[booking_id] for coupling, booking_id in ids.items()} == OUTCOMES
