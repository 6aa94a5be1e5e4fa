"""Senders of the first versions on real servers: with a receiver that knows no other, and after its upgrade."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from prebook.contracts.plan import Coupling
from tests.integration.broker_probe import ALL_MESSAGES, BrokerProbe, drain
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.older_receivers.suites import suite_with_older_matching, upgrade_matching
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
VERSIONED = ("prebook.find_driver", "prebook.booking_ended")
PLANS = [uniform_plan(coupling) for coupling in Coupling]
EMPTY = "DELETE FROM matching.{} WHERE {} = $1"
AUCTIONS = "SELECT closed FROM matching.auction WHERE booking_id = $1"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    home = tmp_path_factory.mktemp("older") / "home"
    with suite_with_older_matching(home, "find_driver=1,booking_ended=1") as suite:
        yield suite


async def test_a_receiver_is_upgraded_and_the_archive_of_the_first_version_is_replayed_into_it(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    began = datetime.now(UTC)
    tap = await broker.tap(*ALL_MESSAGES)
    older = await rider.prebook_all(PLANS)
    assert all_in_state(await database.verify_bookings(older), "confirmed"), "both sides know version 1"
    await upgrade_matching(suite, control)
    newer = await rider.prebook_all(PLANS)
    assert all_in_state(await database.verify_bookings(newer), "confirmed"), "version 1 is upcast"
    archived = older[list(Coupling).index(Coupling.ONE_WAY)]
    assert (await rider.cancel(archived)).status_code == 200
    await database.verify_bookings([archived])
    types = {each.headers["ce-type"] for each in await drain(tap)}
    assert {each for each in types if each.startswith(VERSIONED)} == {f"{each}.v1" for each in VERSIONED}

    for table, column in (("inbox", "conversation_id"), ("auction", "booking_id"), ("assignment", "booking_id")):
        await database.connection.execute(EMPTY.format(table, column), archived)
    report = await replay_archive(suite, began, archived)
    assert report["new_effects"] == report["sent"] >= len(VERSIONED)
    assert await database.fetch_value(AUCTIONS, archived) is True, "both messages had their effect again"


async def replay_archive(suite: Suite, began: datetime, booking_id: str) -> dict[str, Any]:
    """Replay the archived messages of a booking to matching, and return the report."""
    selection = ("--from", began.isoformat(), "--booking", booking_id, "--to-service", "matching")
    done = await asyncio.to_thread(
        suite.prebook, "archive", "replay", *selection, "--apply", "--ignore-expiry", "--json"
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
