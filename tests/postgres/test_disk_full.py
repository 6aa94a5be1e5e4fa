"""A disk that is really full: an outbox in a small file system of its own."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from prebook.messaging.errors import Unreachable
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.databases import dispose_engine, role_url
from tests.messaging.examples import request
from tests.postgres.conftest import SERVICE

SIZE = "8m"
FILLER_BYTES = 6_000_000
"""Bytes that something else takes, and frees later."""
PADDING = "x" * 2_000
BATCH = 50
MAX_TRANSACTIONS = 500
FILLER = "filler"
SPACE = "space"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of ``SIZE``; skips the test where the system permits no mount."""
    folder = Path(tempfile.mkdtemp(prefix="prebook-disk-"))
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("this system permits no mount of a small file system")
    (folder / FILLER).write_bytes(bytes(FILLER_BYTES))
    (folder / SPACE).mkdir()
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
async def admin(admin_url: str, small_disk: Path) -> AsyncIterator[asyncpg.Connection]:
    """Administrator of a database whose outbox is on the small disk; moved back at the end."""
    connection = await asyncpg.connect(asyncpg_dsn(admin_url))
    _give_to_owner_of(await connection.fetchval("SHOW data_directory"), small_disk, small_disk / SPACE)
    try:
        await connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk / SPACE}'")
        await connection.execute(f"ALTER TABLE {SERVICE}.outbox SET TABLESPACE small")
        yield connection
        await connection.execute(f"TRUNCATE {SERVICE}.outbox")
        await connection.execute(f"ALTER TABLE {SERVICE}.outbox SET TABLESPACE pg_default")
        await connection.execute("DROP TABLESPACE small")
    finally:
        await connection.close()


def _give_to_owner_of(data_directory: str, *folders: Path) -> None:
    owner = Path(data_directory).stat()
    for folder in folders:
        shutil.chown(folder, owner.st_uid, owner.st_gid)


async def test_a_full_disk_is_an_outage_and_no_message_is_lost(
    admin: asyncpg.Connection, admin_url: str, small_disk: Path
) -> None:
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE))
    transactions = 0

    async def enqueue() -> None:
        async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
            await work.enqueue([_message(f"m{transactions}-{number}") for number in range(BATCH)])

    async def enqueue_until_full() -> None:
        nonlocal transactions
        while transactions < MAX_TRANSACTIONS:
            await enqueue()
            transactions += 1

    with pytest.raises(Unreachable, match="the disk of the database is full"):
        await enqueue_until_full()
    assert await admin.fetchval("SELECT count(*) FROM pricing.outbox") == BATCH * transactions
    (small_disk / FILLER).unlink()
    await enqueue()
    rows = await SqlOutbox(engine, "relay").claim(BATCH, lease_s=1.0, full_routes=[])
    assert len(rows) == BATCH
    await dispose_engine(engine)


def _message(message_id: str) -> OutboxMessage:
    envelope = request(message_id, id=message_id, extra={"prebook-padding": PADDING})
    return OutboxMessage(envelope, "amqp", message_id)
