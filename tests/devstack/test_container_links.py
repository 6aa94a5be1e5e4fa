"""Connections of a service in a container through the fault proxies of the console."""

from pathlib import Path

import pytest

from prebook.devstack.container_environment import container_environment
from prebook.devstack.proxies.container_links import LINK_PORTS, via_console
from prebook.lab.faults.catalogue import LINK_ENDPOINTS

AMQP_URL = "amqp://prebook_pricing:a%2Fb@rabbitmq:5672/prebook"
DATABASE_URL = "postgresql+asyncpg://prebook_pricing:c:d@postgres:5432/prebook"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    for name, text in (("amqp_url", AMQP_URL), ("database_url", DATABASE_URL)):
        (tmp_path / name).write_text(text)
    return {
        "PREBOOK_AMQP_URL_FILE": str(tmp_path / "amqp_url"),
        "PREBOOK_DATABASE_URL_FILE": str(tmp_path / "database_url"),
        "PREBOOK_INTERNAL_URL_BOOKING": "http://booking:8001",
        "PREBOOK_SIGNING_SECRETS_FILE": str(tmp_path / "signing_secrets"),
        "PREBOOK_CONTROL_TOKEN_SHA256_FILE": str(tmp_path / "control_token_sha256"),
    }


def test_the_console_has_a_port_for_every_link_of_the_catalogue() -> None:
    assert LINK_PORTS.keys() == LINK_ENDPOINTS.keys()
    assert len(set(LINK_PORTS.values())) == len(LINK_PORTS)


def test_without_proxies_a_service_connects_directly(env: dict[str, str]) -> None:
    given = container_environment("pricing", env)
    assert "PREBOOK_AMQP_URL" not in given
    assert given.items() >= {(k, v) for k, v in env.items() if "CONTROL_TOKEN" not in k}


def test_with_proxies_every_connection_passes_a_proxy_of_its_own(env: dict[str, str]) -> None:
    given = container_environment("pricing", env, "lab")
    broker, database, booking = (LINK_PORTS[name] for name in ("pricing-broker", "pricing-database", "http-booking"))
    assert given["PREBOOK_AMQP_URL"] == f"amqp://prebook_pricing:a%2Fb@lab:{broker}/prebook"
    assert given["PREBOOK_DATABASE_URL"] == f"postgresql+asyncpg://prebook_pricing:c:d@lab:{database}/prebook"
    assert given["PREBOOK_INTERNAL_URL_BOOKING"] == f"http://lab:{booking}"
    assert "PREBOOK_AMQP_URL_FILE" not in given
    assert "PREBOOK_DATABASE_URL_FILE" not in given
    assert given["PREBOOK_SIGNING_SECRETS_FILE"] == env["PREBOOK_SIGNING_SECRETS_FILE"]


def test_no_service_gets_the_secrets_of_its_supervisor(env: dict[str, str]) -> None:
    assert not [name for name in container_environment("pricing", env, "lab") if "CONTROL_TOKEN" in name]


def test_a_url_without_credentials_keeps_its_path() -> None:
    assert (
        via_console("http://fleets:8001/base", "http-fleets", "lab") == f"http://lab:{LINK_PORTS['http-fleets']}/base"
    )
