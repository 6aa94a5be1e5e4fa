"""The runner of a replay from the archive, with its ports in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from prebook.coupling.ports import Publisher
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.replay import archive_runner
from prebook.replay.archive_replay import ArchiveReplay, ArchiveReplayOptions
from prebook.replay.archive_report import ArchiveReplayReport, ArchiveReplayState
from prebook.replay.archive_runner import ArchiveReplayPorts, run_archive_replay
from prebook.replay.archive_selection import ArchiveSelection
from prebook.replay.archived_message import ArchivedMessage
from prebook.replay.eligibility import ReplayPolicy
from prebook.replay.receivers import Receiver
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import sender_check
from tests.replay.examples import NOON, archived_event

PRICING = Receiver("pricing.events", "pricing")


@dataclass
class MemoryBroker(Publisher):
    """Archive, publisher and inboxes of one suite. ``unroutable``: ids that the broker routes to no queue."""

    archive: list[ArchivedMessage]
    inbox: set[str] = field(default_factory=set)
    unroutable: set[str] = field(default_factory=set)
    unconfirmed: int = 0
    is_inbox_down: bool = False
    published: list[str] = field(default_factory=list)
    audit: list[ArchiveReplayReport] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    async def read(self, _: datetime | None) -> AsyncIterator[ArchivedMessage]:
        for message in self.archive:
            yield message

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Publisher]:
        yield self

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        assert (exchange, routing_key) == ("prebook.redeliver", "pricing.events")
        message_id = message.headers["ce-id"]
        if message_id in self.unroutable:
            raise Undeliverable("no queue")
        self.published.append(message_id)
        self.inbox.add(message_id)
        if self.unconfirmed:
            self.unconfirmed -= 1
            raise Unreachable("not confirmed")

    async def look_up(self, service: str, message_id: str) -> datetime | None:
        assert service == "pricing"
        if self.is_inbox_down:
            raise Unreachable("the inbox does not answer")
        return NOON if message_id in self.inbox else None

    async def replay(self, *, apply: bool = True) -> ArchiveReplayReport:
        policy = ReplayPolicy(now=NOON + timedelta(hours=1), inbox_dedup_s=24 * 3600.0)
        options = ArchiveReplayOptions(
            receivers=[PRICING],
            policy=policy,
            apply=apply,
            rate_per_s=1000.0,
            check_sender=sender_check(suite_topology(())),
        )
        ports = ArchiveReplayPorts(
            read_archive=self.read,
            open_publisher=self.open,
            look_up_inbox=self.look_up,
            services={"pricing"},
            write_audit=self.audit.append,
            log_progress=self.log.append,
        )
        return await run_archive_replay(ArchiveReplay(ArchiveSelection(), options), ports)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker([archived_event(number) for number in range(3)])


@pytest.fixture
def ids(broker: MemoryBroker) -> list[str]:
    return [message.id for message in broker.archive]


async def test_a_dry_run_counts_effects_and_sends_nothing(broker: MemoryBroker, ids: list[str]) -> None:
    broker.inbox = {ids[0]}
    report = await broker.replay(apply=False)
    assert (report.state, report.sent) == (ArchiveReplayState.DRY_RUN, 0)
    assert (report.duplicates, report.new_effects, report.unconfirmed) == (1, 2, 0)
    assert (broker.published, broker.audit) == ([], [])


async def test_messages_are_sent_in_order_and_new_effects_are_counted(broker: MemoryBroker, ids: list[str]) -> None:
    broker.inbox = {ids[1]}
    report = await broker.replay()
    assert broker.published == ids
    assert (report.state, report.sent) == (ArchiveReplayState.DONE, 3)
    assert (report.duplicates, report.new_effects, report.unconfirmed) == (1, 2, 0)
    assert [line.state for line in broker.audit] == [ArchiveReplayState.RUNNING, ArchiveReplayState.DONE]


async def test_one_ineligible_message_prevents_the_whole_replay(broker: MemoryBroker) -> None:
    broker.archive.append(archived_event(9, ce_type="prebook.booking_ended.v9"))
    report = await broker.replay()
    assert (report.state, report.sent, broker.published) == (ArchiveReplayState.INELIGIBLE, 0, [])
    assert [unsent.messages for unsent in report.unsent] == [1]


async def test_an_unconfirmed_message_is_published_again(
    broker: MemoryBroker, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_runner, "PUBLISH_RETRY_INTERVAL_S", 0.0)
    broker.unconfirmed = 1
    assert (await broker.replay()).sent == 3
    assert broker.published == [ids[0], *ids]


async def test_an_unroutable_message_interrupts_the_replay(broker: MemoryBroker, ids: list[str]) -> None:
    broker.unroutable = {ids[1]}
    report = await broker.replay()
    assert (report.state, report.sent) == (ArchiveReplayState.INTERRUPTED, 1)
    assert (report.duplicates, report.new_effects, report.unconfirmed) == (0, 1, 0)
    assert [(unsent.reason, unsent.messages) for unsent in report.unsent] == [("Undeliverable: no queue", 2)]
    assert [line.state for line in broker.audit] == [ArchiveReplayState.RUNNING, ArchiveReplayState.INTERRUPTED]


async def test_a_silent_inbox_leaves_the_effects_uncounted(broker: MemoryBroker) -> None:
    broker.is_inbox_down = True
    report = await broker.replay()
    assert (report.state, report.sent) == (ArchiveReplayState.DONE, 3)
    assert (report.duplicates, report.new_effects, report.unconfirmed) == (None, None, None)
    assert any("effects are not counted" in line for line in broker.log)
