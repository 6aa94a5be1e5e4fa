"""Very many hostile messages to a running suite under load: each is settled once, and the suite stays as it was."""

import asyncio
import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

import psutil
import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES, SERVICES
from prebook.messaging import addresses
from prebook.messaging.policy import retry_delays_s
from prebook.topology.model import suite_topology
from tests.conditions import poll_until
from tests.conftest import Figure, run_suite
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.footprint import Footprint, watch_readiness
from tests.integration.hostile_message_ledger import STUCK, HostileMessageLedger
from tests.integration.rabbitmqctl import run_rabbitmqctl
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite
from tests.rabbit.message_fuzzer import ADMINISTRATOR, HostileMessage, MessageFuzzer
from tests.rabbit.raw_amqp import Outcome, RawConnection

pytestmark = pytest.mark.real
PLANS = [uniform_plan(coupling) for coupling in Coupling]
TOPOLOGY = suite_topology(sorted(retry_delays_s(POLICIES)))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
COUNT = int(os.environ.get("FUZZ_MESSAGES", "2000"))
ROUND = 1_000
"""Messages that are sent before those of the round before must be settled."""
SETTLE_TIMEOUT_S = 90.0
WARM_UP = 0.2
"""Share of the messages after which memory and series are measured for the first time."""


@dataclass
class Publishers:
    """Connections to the broker by account, opened again whenever the broker closes one."""

    urls: Mapping[str, str]
    _open: dict[str, RawConnection] = field(default_factory=dict)

    async def send(self, messages: list[HostileMessage]) -> list[tuple[HostileMessage, Outcome]]:
        """Send messages, those of each account in order, and return what the broker does with each."""
        by_account: defaultdict[str, list[HostileMessage]] = defaultdict(list)
        for message in messages:
            by_account[message.account].append(message)
        sent = await asyncio.gather(
            *(asyncio.to_thread(self._send_all, account, own) for account, own in by_account.items())
        )
        return [each for of_account in sent for each in of_account]

    def _send_all(self, account: str, own: list[HostileMessage]) -> list[tuple[HostileMessage, Outcome]]:
        return [(message, self._send_one(account, message)) for message in own]

    def _send_one(self, account: str, message: HostileMessage) -> Outcome:
        if account not in self._open:
            self._open[account] = RawConnection(self.urls[account])
        outcome = self._open[account].send(message.frames, is_complete=message.is_complete)
        if outcome is Outcome.REFUSED:
            self._open.pop(account).close()
        return outcome

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite of its own: what hostile messages leave in the archive and in counters confuses other tests."""
    with run_suite(tmp_path_factory.mktemp("fuzzed") / "home") as suite:
        yield suite


@pytest.fixture
async def publishers(suite: Suite, control: ControlClient) -> AsyncIterator[Publishers]:
    services = {name: psutil.Process(await control.read_pid(name)).environ()["PREBOOK_AMQP_URL"] for name in PROCESSES}
    strangers = {ADMINISTRATOR: suite.state.amqp_url, addresses.ARCHIVE_READER: suite.state.archive_url}
    publishers = Publishers({**services, **strangers})
    yield publishers
    publishers.close()


def list_service_connections(suite: Suite) -> set[str]:
    """Return the ports, and so the identities, of all connections of services to the broker."""
    listed = run_rabbitmqctl(suite.state, "list_connections", "--formatter", "json", "pid", "user", "client_properties")
    return {
        each["pid"]
        for each in json.loads(listed)
        if each["user"].startswith("prebook_") and "connection_name" in json.dumps(each["client_properties"])
    }


def count_queued(suite: Suite) -> dict[str, int]:
    """Return the queues that hold messages; the archive keeps its own."""
    listed = run_rabbitmqctl(
        suite.state, "list_queues", "--vhost", addresses.VHOST, "--formatter", "json", "name", "messages"
    )
    return {
        q["name"]: q["messages"] for q in json.loads(listed) if q["messages"] and q["name"] != addresses.ARCHIVE_QUEUE
    }


async def is_every_queue_empty(suite: Suite) -> bool:
    return not await asyncio.to_thread(count_queued, suite)


async def settle(
    ledger: HostileMessageLedger, suite: Suite, database: DatabaseProbe, messages: list[HostileMessage]
) -> None:
    """Wait until every delivery of these messages is settled, apart from those that may have expired."""
    tokens = {message.token for message in messages if not message.may_expire}

    async def is_settled() -> bool:
        await ledger.settle(database)
        return not any(token in tokens for token, _ in ledger.open)

    try:
        await poll_until(is_settled, SETTLE_TIMEOUT_S, interval_s=0.5)
    except AssertionError as late:
        raise AssertionError(
            f"{late}; open: {ledger.describe_open()}; {ledger.problems}; queues: {count_queued(suite)}"
        ) from None


async def is_nothing_stuck(database: DatabaseProbe, run: str) -> bool:
    return not any([await database.fetch_value(STUCK.format(service), f"^fz{run}-") for service in SERVICES])


@pytest.mark.parametrize(("seed", "count"), [(SEED, COUNT)])
@pytest.mark.timeout(120 + COUNT / 25)
async def test_hostile_messages_are_settled_once_and_leave_the_suite_as_it_was(
    *,
    seed: int,
    count: int,
    suite: Suite,
    rider: RiderClient,
    database: DatabaseProbe,
    publishers: Publishers,
    figure: Figure,
) -> None:
    run = f"{seed}x{count}"
    fuzzer = MessageFuzzer(TOPOLOGY, run, seed)
    ledger = HostileMessageLedger()
    connections = list_service_connections(suite)
    before: Footprint | None = None
    unsettled: list[HostileMessage] = []
    async with watch_readiness(suite) as answers, offer_rides(rider, PLANS) as offers:
        for first in range(0, count, ROUND):
            if before is None and first >= WARM_UP * count:
                before = await Footprint.read(suite)
            messages = [fuzzer.next_message() for _ in range(min(ROUND, count - first))]
            for message, outcome in await publishers.send(messages):
                ledger.enter(message, outcome)
            await settle(ledger, suite, database, unsettled)
            unsettled = messages
        await settle(ledger, suite, database, unsettled)
        await poll_until(lambda: is_nothing_stuck(database, run), SETTLE_TIMEOUT_S, interval_s=1.0)
    await ledger.settle(database)
    ledger.settle_expired()
    states = await database.verify_bookings(offers.ids)
    after = await Footprint.read(suite)
    assert before is not None
    for line in (
        *ledger.describe(),
        f"rides meanwhile: {dict(Counter(states.values()))}, {len(offers.refusals)} refused",
        f"answers of /readyz: {dict(Counter(status for _, status in answers.elements()))}",
        *after.describe_growth(before),
    ):
        figure(f"seed {seed}, {count:,} messages: {line}")
    assert not ledger.open, ledger.describe_open()
    assert ledger.problems == []
    assert {status for _, status in answers} == {200}
    await poll_until(lambda: is_every_queue_empty(suite), SETTLE_TIMEOUT_S, interval_s=0.5)
    assert connections <= list_service_connections(suite), "the broker lost a connection of a service"
    after.verify_growth(before)
