"""Unreadable replies of partners are parked with their bytes and cause, once the broker takes them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from prebook.coupling.ports import Publisher
from prebook.fleets.invalid_messages import InvalidMessageChannel
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters.record import record_of
from prebook.topology.model import suite_topology
from tests.fleets.memory import MemoryFleets
from tests.fleets.requests import unreadable_reply


@dataclass
class FlakyPublisher(Publisher):
    """Publisher that fails as long as ``is_away``."""

    is_away: bool = False
    published: list[tuple[str, str, WireMessage]] = field(default_factory=list)

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: object = None
    ) -> None:
        del expires_at
        if self.is_away:
            raise Unreachable("the broker is away")
        self.published.append((exchange, routing_key, message))


def channel(work: MemoryFleets, publisher: Publisher) -> InvalidMessageChannel:
    @asynccontextmanager
    async def begin() -> AsyncIterator[MemoryFleets]:
        yield work

    context: Any = SimpleNamespace(units=SimpleNamespace(background=begin), publisher=publisher)
    return InvalidMessageChannel(context)


async def test_a_reply_is_parked_with_its_bytes_and_its_cause_and_forgotten() -> None:
    work = MemoryFleets()
    publisher = FlakyPublisher()
    await work.record_unreadable(unreadable_reply(b"\xff<html>"))
    assert await channel(work, publisher).park_recorded() == 1
    assert work.unreadable == {}
    ((exchange, address, wire),) = publisher.published
    record = record_of(DeadLetter(address, wire.headers, wire.body), datetime(2030, 1, 1, tzinfo=UTC))
    assert exchange == addresses.PARKING
    assert (record.cause, record.payload, record.flow, record.kind) == ("garbled", b"\xff<html>", "ask_fleet", "reply")
    assert (record.conversation_id, record.message_id) == ("b1", "b1.ask_fleet.ada.partner_reply")
    assert record.type == "application/vnd.ada.reply.v1+json"
    assert "ada sent 7 bytes" in record.error


async def test_a_reply_is_kept_while_the_broker_is_away() -> None:
    work = MemoryFleets()
    publisher = FlakyPublisher(is_away=True)
    await work.record_unreadable(unreadable_reply(b""))
    with pytest.raises(Unreachable):
        await channel(work, publisher).park_recorded()
    assert len(work.unreadable) == 1
    publisher.is_away = False
    assert await channel(work, publisher).park_recorded() == 1


async def test_a_reply_that_is_published_twice_is_one_dead_letter() -> None:
    publisher = FlakyPublisher()
    for _ in range(2):
        work = MemoryFleets()
        await work.record_unreadable(unreadable_reply(b"?"))
        await channel(work, publisher).park_recorded()
    now = datetime(2030, 1, 1, tzinfo=UTC)
    records = {record_of(DeadLetter(a, w.headers, w.body), now).fingerprint for _, a, w in publisher.published}
    assert len(publisher.published) == 2
    assert len(records) == 1


def test_only_fleets_may_park_replies_of_partners() -> None:
    grants = [g for g in suite_topology(()).grants if g.routing_key == addresses.PARTNER_REPLIES]
    assert [(g.account, g.exchange) for g in grants] == [("fleets", addresses.PARKING)]
