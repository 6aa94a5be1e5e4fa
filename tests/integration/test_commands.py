"""Commands of `prebook` against a running suite."""

import json
from collections import Counter

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real

FLEETS = ("ada", "borealis", "cargo")
"""Partner fleets that are asked by default."""


async def test_the_topology_of_the_broker_equals_the_model(suite: Suite) -> None:
    done = suite.prebook("topology", "diff", "--json")
    assert json.loads(done.stdout) == {"in_sync": True, "differences": []}, done.stdout
    assert done.returncode == 0


async def test_the_ledger_counts_every_booking_once(suite: Suite, rider: RiderClient, database: DatabaseProbe) -> None:
    keys = [f"ledger-{coupling}-{n}" for coupling in Coupling for n in range(2)]
    responses = [await rider.post_booking(uniform_plan(key.split("-")[1]), key=key) for key in keys]
    await database.verify_bookings([response.json()["id"] for response in responses])
    ledger = json.loads(suite.prebook("ledger", "--prefix", "ledger-", "--json").stdout)
    assert (ledger["bookings"], ledger["notified"], ledger["duplicated"]) == (len(keys), len(keys), 0)
    counts = Counter({(row["plan"], row["state"]): row["bookings"] for row in ledger["rows"]})
    assert counts == Counter({(coupling.value, "confirmed"): 2 for coupling in Coupling})
    offers = ledger["offers"]
    assert offers["auctions"] == len(keys)
    assert {fleet: totals["asked"] for fleet, totals in offers["fleets"].items()} == dict.fromkeys(FLEETS, len(keys))
    assert offers["total"]["used"] == sum(totals["used"] for totals in offers["fleets"].values()) >= len(keys)
    full_ledger = json.loads(suite.prebook("ledger", "--json").stdout)
    assert full_ledger["bookings"] == await database.fetch_value("SELECT count(*) FROM booking.booking")
    assert full_ledger["duplicated"] == 0


@pytest.mark.parametrize("service", PROCESSES)
async def test_the_ready_command_reports_a_ready_service(suite: Suite, service: str) -> None:
    done = suite.prebook("ready", suite.state.urls[service])
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr


async def test_the_doctor_finds_every_process(suite: Suite) -> None:
    findings = {finding["subject"]: finding for finding in json.loads(suite.prebook("doctor", "--json").stdout)}
    assert {subject for subject in PROCESSES if findings[subject]["ok"]} == set(PROCESSES), findings


async def test_a_second_suite_in_the_same_home_is_refused_with_a_remedy(suite: Suite) -> None:
    done = suite.prebook("up", "--port-base", "64000")
    assert done.returncode == 1
    assert "PREBOOK_HOME" in done.stderr
