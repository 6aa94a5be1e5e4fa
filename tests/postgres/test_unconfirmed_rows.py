"""A row that expires after a send whose outcome nobody knows is told from one that nobody has tried to send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import poll_until, wait_until
from tests.databases import dispose_engine, role_url
from tests.messaging.examples import request
from tests.postgres.conftest import SERVICE

LIFETIME = timedelta(seconds=8)
STATE = "SELECT state FROM pricing.outbox WHERE message_id = $1"
OUTCOME = "SELECT state, cause, last_error FROM pricing.outbox WHERE message_id = $1"


class Sends:
    """Records the ids of sent rows; ``failure`` is raised instead of a confirmation."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.ids: list[str] = []
        self.failure = failure

    async def send(self, row: LeasedRow) -> None:
        self.ids.append(row.envelope.id)
        if self.failure:
            raise self.failure


@asynccontextmanager
async def run_relay(admin_url: str, owner: str, sends: Sends, *, marks: bool = True) -> AsyncIterator[None]:
    """Run a relay until it is killed. Without ``marks``, the kill comes before a sent row is marked."""
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE))
    outbox = SqlOutbox(engine, owner)
    relay = Relay(outbox, NullObserver())
    if not marks:
        relay._sender._sent_marker._mark = _never_mark
    await outbox.release_orphaned()
    task = asyncio.create_task(relay.run(sends.send))
    try:
        yield
    finally:
        relay._sender._sent_marker._unmarked.clear()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await dispose_engine(engine)


async def _never_mark(_: object) -> None:
    raise ConnectionError("killed")


async def write(admin_url: str, message_id: str) -> datetime:
    """Write a row and return when it expires."""
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE))
    expires_at = datetime.now(UTC) + LIFETIME
    message = request(message_id, id=message_id, expires_at=expires_at)
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(message, "broker", message_id)])
    await dispose_engine(engine)
    return expires_at


async def wait_until_expired(expires_at: datetime) -> None:
    await wait_until(lambda: datetime.now(UTC) > expires_at, 20)


async def read_outcome(admin_url: str, admin: asyncpg.Connection, message_id: str, sends: Sends) -> asyncpg.Record:
    """Let a new relay find the row, and return state, cause and error of its end."""

    async def is_expired() -> bool:
        return bool(await admin.fetchval(STATE, message_id) == "expired")

    async with run_relay(admin_url, f"a new relay for {message_id}", sends):
        await poll_until(is_expired, 30)
    row = await admin.fetchrow(OUTCOME, message_id)
    assert row is not None
    return row


async def test_a_row_sent_by_a_relay_that_was_killed_before_the_mark_is_unconfirmed(
    admin_url: str, admin: asyncpg.Connection
) -> None:
    """A provider is killed after its reply was delivered and before the mark, and is back after the deadline."""
    sends = Sends()
    expires_at = await write(admin_url, "delivered")
    async with run_relay(admin_url, "killed relay", sends, marks=False):
        await wait_until(lambda: sends.ids == ["delivered"], 8)
    await wait_until_expired(expires_at)
    outcome = await read_outcome(admin_url, admin, "delivered", sends)
    assert outcome["cause"] == "unconfirmed"
    assert "may have been sent" in outcome["last_error"]
    assert sends.ids == ["delivered"], "nobody waits for it any more"


async def test_a_row_whose_send_had_no_answer_is_unconfirmed(admin_url: str, admin: asyncpg.Connection) -> None:
    """A request is accepted by a provider that is killed before its answer; the deadline ends the repetitions."""
    sends = Sends(Unreachable("no answer within 3 s", reason="timeout", retry_after_s=0.05))
    expires_at = await write(admin_url, "no-answer")
    async with run_relay(admin_url, "relay", sends):
        await wait_until(lambda: "no-answer" in sends.ids, 8)
        await wait_until_expired(expires_at)
    outcome = await read_outcome(admin_url, admin, "no-answer", sends)
    assert outcome["cause"] == "unconfirmed"
    assert "no answer within 3 s" in outcome["last_error"]


async def test_a_row_that_its_receiver_refused_is_expired(admin_url: str, admin: asyncpg.Connection) -> None:
    sends = Sends(Undeliverable("no queue", cause="unroutable"))
    expires_at = await write(admin_url, "refused")
    async with run_relay(admin_url, "refused relay", sends):
        await wait_until(lambda: "refused" in sends.ids, 8)
        await wait_until_expired(expires_at)
    outcome = await read_outcome(admin_url, admin, "refused", sends)
    assert outcome["cause"] == "expired"


async def test_a_row_that_nobody_has_tried_to_send_is_expired(admin_url: str, admin: asyncpg.Connection) -> None:
    sends = Sends()
    await wait_until_expired(await write(admin_url, "untried"))
    outcome = await read_outcome(admin_url, admin, "untried", sends)
    assert outcome["cause"] == "expired"
    assert outcome["last_error"] == "the message expired before it was sent"
    assert "untried" not in sends.ids
