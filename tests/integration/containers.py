"""PostgreSQL and RabbitMQ in containers of testcontainers, used by the suite as external servers."""

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

# testcontainers reads these when it is imported. Its reaper is disabled, because it would mount the engine's socket.
TESTCONTAINERS_ENV = {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TESTCONTAINERS_HOST_OVERRIDE": LOOPBACK,
}
PASSWORD = "of-a-container-that-lives-as-long-as-the-tests"
READY_TIMEOUT_S = 90.0


@contextmanager
def start_containers() -> Iterator[Mapping[str, str]]:
    """Start both containers, yield the settings with which `prebook up` uses them, and remove them at the end."""
    os.environ.update(TESTCONTAINERS_ENV)
    with ExitStack() as running:
        database_url = running.enter_context(start_database())
        broker = running.enter_context(_container(RABBITMQ_IMAGE, _broker_settings(), 5672, 15672))
        management = f"http://{LOOPBACK}:{broker.get_exposed_port(15672)}"
        _wait_until(lambda: _is_listening(management), RABBITMQ_IMAGE)
        yield {
            "PREBOOK_STACK": "external",
            "PREBOOK_DATABASE_URL": database_url,
            "PREBOOK_AMQP_URL": f"amqp://{ADMIN_USER}:{PASSWORD}@{LOOPBACK}:{broker.get_exposed_port(5672)}/{VHOST}",
            "PREBOOK_MANAGEMENT_URL": management,
        }


@contextmanager
def start_database() -> Iterator[str]:
    """Start a container of PostgreSQL, yield the administrator's URL of its database, and remove it at the end."""
    os.environ.update(TESTCONTAINERS_ENV)
    with _container(POSTGRES_IMAGE, _database_settings(), 5432, command=" ".join(POSTGRES_ARGS)) as database:
        is_ready = ["pg_isready", "-h", LOOPBACK, "-d", DATABASE_NAME]
        _wait_until(lambda: database.exec(is_ready).exit_code == 0, POSTGRES_IMAGE)
        port = database.get_exposed_port(5432)
        yield f"postgresql+asyncpg://{ADMIN_USER}:{PASSWORD}@{LOOPBACK}:{port}/{DATABASE_NAME}"


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
    """Return a container whose ports are published on the loopback interface only.

    testcontainers publishes on every interface by default.
    """
    from testcontainers.core.container import DockerContainer

    published = {f"{port}/tcp": (LOOPBACK, None) for port in ports}
    container = DockerContainer(image, command=command, env=settings)
    container.ports.update(published)  # type: ignore[arg-type]  # passed on to docker, which accepts (address, port)
    return container


def _is_listening(management: str) -> bool:
    credentials = base64.b64encode(f"{ADMIN_USER}:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        f"{management}/api/health/checks/port-listener/5672", headers={"Authorization": f"Basic {credentials}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait_until(condition: Callable[[], bool], image: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"{image} is not ready within {READY_TIMEOUT_S:g} s"
        time.sleep(0.2)
