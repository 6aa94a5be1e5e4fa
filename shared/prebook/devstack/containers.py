"""Broker and database as Docker containers: published on the loopback interface only, removed at the end."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prebook.devstack.broker.probe import BrokerProbe
from prebook.devstack.child_process import ChildProcess, Command, spawn
from prebook.devstack.database import server_settings
from prebook.devstack.database.probe import DatabaseProbe
from prebook.devstack.filesystem import write_private_file
from prebook.devstack.polling import wait_until
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.servers import Broker, BrokerServer, Database, DatabaseServer, Log, ServerProcess
from prebook.messaging.addresses import VHOST

DOCKER_TIMEOUT_S = 10.0
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 10.0
REMOVE_TIMEOUT_S = 20.0
DOCKER_REMEDY = "start Docker (`docker info` must succeed), or set PREBOOK_STACK=local or external"


@dataclass(frozen=True)
class ContainerSpec:
    """A container to run; ``secrets`` are environment variables, passed in a file with owner-only access."""

    role: str
    image: str
    ports: Sequence[int]
    secrets: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


async def is_docker_available() -> bool:
    """Return whether a Docker engine can be reached."""
    if not shutil.which("docker"):
        return False
    status, _ = await _run_docker("info", "--format", "{{.ServerVersion}}")
    return status == 0


class Container:
    """A container run by `docker run` in the foreground.

    The engine removes it when the command ends, for whatever reason.
    """

    def __init__(self, spec: ContainerSpec, data_dir: Path) -> None:
        self._spec = spec
        self._data_dir = data_dir
        self.name = f"prebook-{spec.role}-{secrets.token_hex(4)}"
        self.child: ChildProcess | None = None

    async def start(self) -> dict[int, int]:
        """Start the container and return the host's port for each port of the image. Raises UserError."""
        lines = [f"{name}={value}\n" for name, value in self._spec.secrets.items()]
        settings = write_private_file(self._data_dir / f"{self.name}.env", "".join(lines))
        published = [word for port in self._spec.ports for word in ("--publish", f"{LOOPBACK}::{port}")]
        arguments = (
            "--name",
            self.name,
            "--label",
            f"prebook.owner={os.getpid()}",
            "--env-file",
            str(settings),
            *published,
        )
        command = Command(
            args=("docker", "run", "--rm", *arguments, self._spec.image, *self._spec.arguments),
            env=os.environ,
            log_file=self._data_dir / f"{self.name}.log",
        )
        self.child = await spawn(command)
        mapped: dict[int, int] = {}

        async def is_up() -> bool:
            mapped.update(await self._read_port_mapping())
            return len(mapped) == len(self._spec.ports)

        what = f"the container of {self._spec.image}"
        await wait_until(is_up, START_TIMEOUT_S, subject=what, remedy=DOCKER_REMEDY, child=self.child)
        settings.unlink()
        return mapped

    async def stop(self) -> None:
        """Remove the container with its volumes, and end the command that ran it. Does nothing before ``start``."""
        if self.child:
            await _run_docker("rm", "--force", "--volumes", self.name, timeout_s=REMOVE_TIMEOUT_S)
            await self.child.stop(STOP_TIMEOUT_S)

    async def _read_port_mapping(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for port in self._spec.ports:
            status, output = await _run_docker("port", self.name, str(port))
            if status == 0 and output:
                found[port] = int(output.splitlines()[0].rpartition(":")[2])
        return found


async def _run_docker(*arguments: str, timeout_s: float = DOCKER_TIMEOUT_S) -> tuple[int, str]:
    """Run a short docker command and return its exit status and output; a timeout counts as status 1."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 1, ""
    return process.returncode or 0, output.decode().strip()


RABBITMQ_IMAGE = "rabbitmq:4-management"
POSTGRES_IMAGE = "postgres:17"
AMQP_PORT = 5672
MANAGEMENT_PORT = 15672
POSTGRES_PORT = 5432
READY_TIMEOUT_S = 90.0
CONTAINER_REMEDY = "read `docker ps -a` and `docker logs`; if the image could not be loaded, `docker pull` it by hand"
ADMIN_USER = "prebook_admin"
DATABASE_NAME = "prebook"
ERLANG_ARGS = (
    "-rabbitmq_management rates_mode none -rabbit default_user_tags [administrator,impersonator] "
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
)
"""Faults of the lab publish in the services' names, which RabbitMQ permits to an impersonator only."""
POSTGRES_ARGS = tuple(
    word
    for name, value in {**server_settings.SETTINGS, "shared_buffers": "32MB"}.items()
    for word in ("-c", f"{name}={value}")
)


class RabbitContainer(BrokerServer):
    """RabbitMQ as a container with a single node.

    The process belongs to the Docker engine: its pid is unknown, and no fault can be injected.
    """

    processes: Sequence[ServerProcess] = ()

    def __init__(self, data_dir: Path, log: Log) -> None:
        self._log = log
        self._password = secrets.token_hex(16)
        environment = {
            "RABBITMQ_DEFAULT_USER": ADMIN_USER,
            "RABBITMQ_DEFAULT_PASS": self._password,
            "RABBITMQ_DEFAULT_VHOST": VHOST,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_ARGS,
        }
        self._container = Container(
            ContainerSpec("rabbitmq", RABBITMQ_IMAGE, (AMQP_PORT, MANAGEMENT_PORT), environment), data_dir
        )

    async def start(self) -> Broker:
        self._log(f"RabbitMQ: starting a container of {RABBITMQ_IMAGE}")
        ports = await self._container.start()
        url = f"http://{LOOPBACK}:{ports[MANAGEMENT_PORT]}"
        probe = BrokerProbe(url, ADMIN_USER, self._password, amqp_port=AMQP_PORT)
        await wait_until(
            probe.is_ready,
            READY_TIMEOUT_S,
            subject=RABBITMQ_IMAGE,
            remedy=CONTAINER_REMEDY,
            child=self._container.child,
        )
        return Broker(
            name="RabbitMQ",
            version=probe.version,
            amqp_url=f"amqp://{ADMIN_USER}:{self._password}@{LOOPBACK}:{ports[AMQP_PORT]}/{VHOST}",
            management_url=url,
            user=ADMIN_USER,
            password=self._password,
        )

    async def stop(self) -> None:
        await self._container.stop()


class PostgresContainer(DatabaseServer):
    """PostgreSQL as a container. The process belongs to the Docker engine, and no fault can be injected."""

    processes: Sequence[ServerProcess] = ()

    def __init__(self, data_dir: Path, log: Log) -> None:
        self._log = log
        self._password = secrets.token_hex(16)
        environment = {
            **server_settings.ENVIRONMENT,
            "POSTGRES_USER": ADMIN_USER,
            "POSTGRES_PASSWORD": self._password,
            "POSTGRES_DB": DATABASE_NAME,
        }
        self._container = Container(
            ContainerSpec("postgres", POSTGRES_IMAGE, (POSTGRES_PORT,), environment, POSTGRES_ARGS), data_dir
        )

    async def start(self) -> Database:
        self._log(f"PostgreSQL: starting a container of {POSTGRES_IMAGE}")
        ports = await self._container.start()
        server = f"{ADMIN_USER}:{self._password}@{LOOPBACK}:{ports[POSTGRES_PORT]}/{DATABASE_NAME}"
        probe = DatabaseProbe(f"postgresql://{server}")
        await wait_until(
            probe.is_ready,
            READY_TIMEOUT_S,
            subject=POSTGRES_IMAGE,
            remedy=CONTAINER_REMEDY,
            child=self._container.child,
        )
        return Database(name="PostgreSQL", version=probe.version, url=f"postgresql+asyncpg://{server}")

    async def stop(self) -> None:
        await self._container.stop()
