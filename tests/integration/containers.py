"""PostgreSQL and RabbitMQ by testcontainers, handed to the suite as parts that somebody else runs."""

import base64
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from prebook.devstack.containers import (
    ADMIN_USER,
    DATABASE_NAME,
    ERLANG_ARGS,
    POSTGRES_ARGS,
    POSTGRES_IMAGE,
    RABBITMQ_IMAGE,
)
from prebook.devstack.ports import LOOPBACK
from prebook.messaging.addresses import VHOST

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

# Read when testcontainers is imported. Its reaper would be a container with the engine's socket in it.
SWITCHES = {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TESTCONTAINERS_HOST_OVERRIDE": LOOPBACK,
}
PASSWORD = "of a container that lives as long as the tests"
READY_WITHIN_S = 90.0


@contextmanager
def started() -> Iterator[Mapping[str, str]]:
    """Settings of `prebook up` that name both containers. They are removed at the end."""
    os.environ.update(SWITCHES)
    with ExitStack() as running:
        database = running.enter_context(
            _container(POSTGRES_IMAGE, _database_settings(), 5432, command=" ".join(POSTGRES_ARGS))
        )
        broker = running.enter_context(_container(RABBITMQ_IMAGE, _broker_settings(), 5672, 15672))
        management = f"http://{LOOPBACK}:{broker.get_exposed_port(15672)}"
        _until(
            lambda: database.exec(["pg_isready", "-h", LOOPBACK, "-d", DATABASE_NAME]).exit_code == 0, POSTGRES_IMAGE
        )
        _until(lambda: _listens(management), RABBITMQ_IMAGE)
        secret = PASSWORD.replace(" ", "%20")
        yield {
            "PREBOOK_STACK": "external",
            "PREBOOK_DATABASE_URL": (
                f"postgresql+asyncpg://{ADMIN_USER}:{secret}@{LOOPBACK}:{database.get_exposed_port(5432)}/{DATABASE_NAME}"
            ),
            "PREBOOK_AMQP_URL": f"amqp://{ADMIN_USER}:{secret}@{LOOPBACK}:{broker.get_exposed_port(5672)}/{VHOST}",
            "PREBOOK_MANAGEMENT_URL": management,
        }


def _database_settings() -> dict[str, str]:
    return {"POSTGRES_USER": ADMIN_USER, "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": DATABASE_NAME}


def _broker_settings() -> dict[str, str]:
    return {
        "RABBITMQ_DEFAULT_USER": ADMIN_USER,
        "RABBITMQ_DEFAULT_PASS": PASSWORD,
        "RABBITMQ_DEFAULT_VHOST": VHOST,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_ARGS,
    }


def _container(image: str, settings: dict[str, str], *ports: int, command: str | None = None) -> "DockerContainer":
    """Published on the loopback interface alone; testcontainers by itself would publish on every one."""
    from testcontainers.core.container import DockerContainer

    published = {f"{port}/tcp": (LOOPBACK, None) for port in ports}
    container = DockerContainer(image, command=command, env=settings)
    container.ports.update(published)  # type: ignore[arg-type]  # handed on to docker, which knows (address, port)
    return container


def _listens(management: str) -> bool:
    who = base64.b64encode(f"{ADMIN_USER}:{PASSWORD}".encode()).decode()
    asked = urllib.request.Request(  # noqa: S310 - an http URL of ours
        f"{management}/api/health/checks/port-listener/5672", headers={"Authorization": f"Basic {who}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _until(holds: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + READY_WITHIN_S
    while not holds():
        assert time.monotonic() < ends, f"{what} is not ready within {READY_WITHIN_S:g} s"
        time.sleep(0.2)
