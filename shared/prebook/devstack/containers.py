"""A part as a container: published on the loopback interface only, removed when we end."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prebook.devstack.broker.probe import VHOST, BrokerProbe
from prebook.devstack.child_process import Child, Command, spawn
from prebook.devstack.database import server_settings
from prebook.devstack.database.probe import DatabaseProbe
from prebook.devstack.filesystem import private_file
from prebook.devstack.polling import until
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.servers import Broker, Database, Member, Say

ENGINE_WITHIN_S, UP_WITHIN_S, STOP_WITHIN_S, REMOVE_WITHIN_S = 10.0, 300.0, 10.0, 20.0
REMEDY = "start Docker (`docker info` must answer), or set PREBOOK_STACK=local or external"


@dataclass(frozen=True)
class Image:
    """What to run: ``secrets`` are environment variables, handed over in a file that only we can read."""

    part: str
    image: str
    ports: Sequence[int]
    secrets: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


async def engine_answers() -> bool:
    """Whether a Docker engine can be reached from here."""
    if not shutil.which("docker"):
        return False
    status, _ = await _docker("info", "--format", "{{.ServerVersion}}")
    return status == 0


class Container:
    """`docker run` in the foreground: the engine removes the container when the command ends, however it ends."""

    def __init__(self, image: Image, data: Path) -> None:
        self._image, self._data = image, data
        self.name = f"prebook-{image.part}-{secrets.token_hex(4)}"
        self.child: Child | None = None

    async def start(self) -> dict[int, int]:
        """The host's port for each port of the image. Raises Trouble."""
        lines = [f"{name}={value}\n" for name, value in self._image.secrets.items()]
        settings = private_file(self._data / f"{self.name}.env", "".join(lines))
        published = [part for port in self._image.ports for part in ("--publish", f"{LOOPBACK}::{port}")]
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
            args=("docker", "run", "--rm", *arguments, self._image.image, *self._image.arguments),
            env=os.environ,
            log=self._data / f"{self.name}.log",
        )
        self.child = await spawn(command)
        mapped: dict[int, int] = {}

        async def is_up() -> bool:
            mapped.update(await self._mapped())
            return len(mapped) == len(self._image.ports)

        what = f"the container of {self._image.image}"
        await until(is_up, UP_WITHIN_S, what=what, remedy=REMEDY, child=self.child)
        settings.unlink()
        return mapped

    async def stop(self) -> None:
        if self.child:
            await _docker("rm", "--force", "--volumes", self.name, within_s=REMOVE_WITHIN_S)
            await self.child.stop(STOP_WITHIN_S)

    async def _mapped(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for port in self._image.ports:
            status, answer = await _docker("port", self.name, str(port))
            if status == 0 and answer:
                found[port] = int(answer.splitlines()[0].rpartition(":")[2])
        return found


async def _docker(*arguments: str, within_s: float = ENGINE_WITHIN_S) -> tuple[int, str]:
    """Exit status and output of a docker command that does not stay."""
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 1, ""
    return process.returncode or 0, output.decode().strip()


RABBITMQ, POSTGRES = "rabbitmq:4-management", "postgres:17"
AMQP_PORT, MANAGEMENT_PORT, POSTGRES_PORT = 5672, 15672, 5432
READY_WITHIN_S = 90.0
LOOK = "`docker ps -a` and `docker logs` say more; `docker pull` the image by hand where it could not be loaded"
ADMIN, DATABASE = "prebook_admin", "prebook"
EMULATOR = "-rabbitmq_management rates_mode none +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
SETTINGS = tuple(
    word
    for name, value in {**server_settings.SETTINGS, "shared_buffers": "32MB"}.items()
    for word in ("-c", f"{name}={value}")
)


class RabbitContainer:
    """Its process belongs to the engine, so that no pid is known and nothing is done to it."""

    members: Sequence[Member] = ()

    def __init__(self, data: Path, say: Say) -> None:
        self._say, self._password = say, secrets.token_hex(16)
        environment = {
            "RABBITMQ_DEFAULT_USER": ADMIN,
            "RABBITMQ_DEFAULT_PASS": self._password,
            "RABBITMQ_DEFAULT_VHOST": VHOST,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": EMULATOR,
        }
        self._container = Container(Image("rabbitmq", RABBITMQ, (AMQP_PORT, MANAGEMENT_PORT), environment), data)

    async def start(self) -> Broker:
        self._say(f"RabbitMQ: starting a container of {RABBITMQ}")
        ports = await self._container.start()
        url = f"http://{LOOPBACK}:{ports[MANAGEMENT_PORT]}"
        probe = BrokerProbe(url, ADMIN, self._password, amqp_port=AMQP_PORT)
        await until(probe.holds, READY_WITHIN_S, what=RABBITMQ, remedy=LOOK, child=self._container.child)
        return Broker(
            name="RabbitMQ",
            version=probe.version,
            amqp_url=f"amqp://{ADMIN}:{self._password}@{LOOPBACK}:{ports[AMQP_PORT]}/{VHOST}",
            management_url=url,
            user=ADMIN,
            password=self._password,
        )

    async def stop(self) -> None:
        await self._container.stop()


class PostgresContainer:
    """As RabbitContainer."""

    members: Sequence[Member] = ()

    def __init__(self, data: Path, say: Say) -> None:
        self._say, self._password = say, secrets.token_hex(16)
        environment = {
            **server_settings.ENVIRONMENT,
            "POSTGRES_USER": ADMIN,
            "POSTGRES_PASSWORD": self._password,
            "POSTGRES_DB": DATABASE,
        }
        self._container = Container(Image("postgres", POSTGRES, (POSTGRES_PORT,), environment, SETTINGS), data)

    async def start(self) -> Database:
        self._say(f"PostgreSQL: starting a container of {POSTGRES}")
        ports = await self._container.start()
        server = f"{ADMIN}:{self._password}@{LOOPBACK}:{ports[POSTGRES_PORT]}/{DATABASE}"
        probe = DatabaseProbe(f"postgresql://{server}")
        await until(probe.holds, READY_WITHIN_S, what=POSTGRES, remedy=LOOK, child=self._container.child)
        return Database(name="PostgreSQL", version=probe.version, url=f"postgresql+asyncpg://{server}")

    async def stop(self) -> None:
        await self._container.stop()
