"""A database that is killed forgets which messages were sent: the judge tells what is sent again from what overtook."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from prebook.flows import SERVICES
from prebook.lab.chaos.database import read_state
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engines
from prebook.postgres.message_column import to_column
from prebook.postgres.outbox import SqlOutbox
from tests.databases import TIMEOUT_S, dispose_engine, embedded_server, role_url, run_migrations
from tests.messaging.examples import request

BOOKING = "bk_1"
OWNER = "booking relay"
LEASE_S = 30.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
INSERT_LEASED = """
    INSERT INTO booking.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key,
        claimed_by, claimed_until)
    VALUES ($1, 'event', 'report_due', $2, 'broker', $4, now(), $2, $3, now() + interval '30 s') RETURNING seq"""
StartServer = Callable[[], str]


@pytest.fixture
def start() -> Iterator[StartServer]:
    """Start a server of its own, or kill it and start it again on its data; returns the administrator's URL."""
    data = Path(tempfile.mkdtemp(prefix="prebook-test-"))
    wheel = embedded_server()
    servers: list[Any] = []

    def kill() -> None:
        while servers:
            server = servers.pop()
            postmaster = psutil.Process(server.get_pid())
            postmaster.send_signal(signal.SIGQUIT)  # ends at once, without writing anything
            postmaster.wait(TIMEOUT_S)
            server.cleanup()

    def start_again() -> str:
        kill()
        servers.append(wheel.get_server(data, cleanup_mode="stop"))
        url: str = servers[0].get_uri()
        return url.replace("postgresql://postgres:@", "postgresql+asyncpg://postgres@", 1)

    yield start_again
    kill()
    shutil.rmtree(data, ignore_errors=True)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@contextlib.asynccontextmanager
async def open_outbox(url: str) -> AsyncIterator[SqlOutbox]:
    engines = create_engines("booking", role_url(url, "booking"))
    yield SqlOutbox(engines.background, OWNER)
    for engine in engines:
        await dispose_engine(engine)


async def test_a_mark_that_a_killed_database_forgot_is_told_from_an_overtaken_message(start: StartServer) -> None:
    url = start()
    run_migrations(url, *SERVICES)
    await execute(url, "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")
    connection = await asyncpg.connect(asyncpg_dsn(url))
    message = to_column(request(BOOKING))
    first, second = [
        await connection.fetchval(INSERT_LEASED, each, BOOKING, OWNER, message) for each in ("first", "second")
    ]
    async with open_outbox(url) as outbox:
        await outbox.mark_sent([first])
        assert await connection.fetchval("SELECT state FROM booking.outbox WHERE seq = $1", first) == "sent"
        url = start()  # the relay has sent the second message, too, and marks it when the database is back
    async with open_outbox(url) as outbox:
        await outbox.mark_sent([second])
        await outbox.release_untracked([])
        (again,) = await outbox.claim(10, lease_s=LEASE_S, full_routes=[])
        assert again.seq == first, "the first message is sent a second time"
        await outbox.mark_sent([first])
    (overtaken,) = (await read_state(url, [BOOKING], LONG_AGO)).overtaken
    assert overtaken.message_id == "second"
    assert overtaken.resent_at is not None
    assert overtaken.created_at < overtaken.resent_at
