"""PostgreSQL and RabbitMQ as containers of their official images."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from prebook.runtime.stack import postgres_server
from prebook.runtime.stack.broker_probe import VHOST, BrokerProbe
from prebook.runtime.stack.container import Container, Image
from prebook.runtime.stack.parts import Broker, Database, Member, Say
from prebook.runtime.stack.ports import LOOPBACK
from prebook.runtime.stack.postgres_probe import DatabaseProbe
from prebook.runtime.stack.waiting import until

RABBITMQ, POSTGRES = "rabbitmq:4-management", "postgres:17"
AMQP_PORT, MANAGEMENT_PORT, POSTGRES_PORT = 5672, 15672, 5432
READY_WITHIN_S = 90.0
LOOK = "`docker ps -a` and `docker logs` say more; `docker pull` the image by hand where it could not be loaded"
ADMIN, DATABASE = "prebook_admin", "prebook"
EMULATOR = "-rabbitmq_management rates_mode none +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
SETTINGS = tuple(
    word
    for name, value in {**postgres_server.SETTINGS, "shared_buffers": "32MB"}.items()
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
            **postgres_server.ENVIRONMENT,
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
