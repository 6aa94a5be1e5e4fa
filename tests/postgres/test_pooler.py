"""A pooler in transaction mode is refused with the reason; a direct connection and one in session mode are not."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from prebook.devstack.ports import allocate_ports
from prebook.messaging.errors import Unreachable
from prebook.postgres.engine import Engines, create_engines
from prebook.postgres.pooler import GENERIC_PLANS, is_pooled, refuse_shared_server
from tests.conditions import poll_until
from tests.databases import dispose_engine, role_url
from tests.postgres.conftest import SERVICE

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
IGNORED = "search_path,statement_timeout,lock_timeout,idle_in_transaction_session_timeout,enable_seqscan,jit,\
plan_cache_mode,synchronous_commit"
ROLE_SETTINGS = f"""
    ALTER ROLE prebook_{SERVICE} SET search_path = {SERVICE};
    ALTER ROLE prebook_{SERVICE} SET plan_cache_mode = {GENERIC_PLANS}"""
RESET = f"ALTER ROLE prebook_{SERVICE} RESET ALL"


class StubSession:
    """A session on a server process, which reported another one when it was opened if a pooler is in between."""

    def __init__(self, server_pid: int, backend_pid: int, plan_cache_mode: str = GENERIC_PLANS) -> None:
        self.server_pid = server_pid
        self._row = SimpleNamespace(pid=backend_pid, plan_cache_mode=plan_cache_mode)

    async def execute(self, _: object) -> SimpleNamespace:
        return SimpleNamespace(one=lambda: self._row)

    execute_without_begin = execute


async def test_a_direct_connection_is_recognized() -> None:
    assert not await is_pooled(StubSession(7, 7))
    assert await is_pooled(StubSession(7, 8))


async def test_lost_settings_are_a_pooler_in_transaction_mode() -> None:
    with pytest.raises(
        Unreachable,
        match="in transaction mode is between the service and the database: settings of the connection are lost",
    ):
        await is_pooled(StubSession(7, 7, "auto"))


async def test_two_sessions_with_one_server_process_are_refused() -> None:
    await refuse_shared_server(StubSession(1, 8), StubSession(2, 9))
    with pytest.raises(Unreachable, match="two connections share a server process; PREBOOK_DATABASE_URL has to name"):
        await refuse_shared_server(StubSession(1, 8), StubSession(2, 8))


@asynccontextmanager
async def pgbouncer(folder: Path, admin_url: str, mode: str, ignored: str) -> AsyncIterator[str]:
    """Run PgBouncer in front of the database of ``admin_url``; yield the URL of the service's role through it."""
    url = make_url(role_url(admin_url, SERVICE))
    (port,) = allocate_ports(1)
    host = str(url.query["host"])
    users = folder / "users.txt"
    users.write_text(f'"{url.username}" ""\n')
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{url.database} = host={host} port={url.port or 5432} dbname={url.database}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {users}\npool_mode = {mode}\nignore_startup_parameters = {ignored}\n"
        f"default_pool_size = 5\nserver_reset_query =\n"
    )
    assert PGBOUNCER
    # PgBouncer refuses to run as root, and only the server's own user may use its socket.
    user = _owner(host) if os.geteuid() == 0 else None
    if user:
        for path in (folder, config, users):
            shutil.chown(path, user)
    process = await asyncio.create_subprocess_exec(PGBOUNCER, str(config), stderr=asyncio.subprocess.DEVNULL, user=user)
    try:
        await poll_until(lambda: _listens(port), 10.0)
        yield f"postgresql+asyncpg://{url.username}@127.0.0.1:{port}/{url.database}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _owner(path: str) -> str:
    return Path(path).owner()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def engines_at(url: str) -> AsyncIterator[Engines]:
    engines = create_engines(SERVICE, url)
    yield engines
    for engine in engines:
        await dispose_engine(engine)


@pytest.fixture
def engines_behind(admin_url: str) -> object:
    if not PGBOUNCER:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")

    @asynccontextmanager
    async def open_engines(mode: str, ignored: str) -> AsyncIterator[Engines]:
        with TemporaryDirectory(prefix="prebook-pooler-") as folder:
            async with pgbouncer(Path(folder), admin_url, mode, ignored) as url, engines_at(url) as engines:
                yield engines

    return open_engines


async def test_a_direct_database_is_ready(admin_url: str) -> None:
    async with engines_at(role_url(admin_url, SERVICE)) as engines:
        await engines.check()


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_a_pooler_that_refuses_settings_is_named(engines_behind: Any, mode: str) -> None:
    async with engines_behind(mode, "extra_float_digits") as engines:
        with pytest.raises(Unreachable, match="a pooler that refuses the settings of connections is in between"):
            await engines.check()


async def test_a_pooler_that_ignores_settings_is_refused(engines_behind: Any) -> None:
    async with engines_behind("transaction", IGNORED) as engines:
        with pytest.raises(Unreachable, match="settings of the connection are lost"):
            await engines.check()


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_settings_of_the_role_hide_no_pooler_in_transaction_mode(
    engines_behind: Any, admin: asyncpg.Connection, mode: str
) -> None:
    await admin.execute(ROLE_SETTINGS)
    try:
        async with engines_behind(mode, IGNORED) as engines:
            if mode == "session":
                await engines.check()
                return
            with pytest.raises(Unreachable, match="two connections share a server process"):
                await engines.check()
    finally:
        await admin.execute(RESET)
