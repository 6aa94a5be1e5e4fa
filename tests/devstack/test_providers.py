"""Choice of the provider of broker and database, and the error if none is available."""

import socket
from pathlib import Path

import pytest

from prebook.devstack.broker import installation
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports, claim_ports, is_free
from prebook.devstack.providers import StackMode, choose_broker_provider, choose_database_provider, read_stack_mode
from prebook.devstack.stack import start_stack


def ignore_progress(_: str) -> None:
    """Ignore a line of progress."""


async def test_a_missing_database_package_is_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.database.embedded.WHEEL_PACKAGE", "no_such_wheel")
    with pytest.raises(UserError) as error:
        await choose_database_provider(StackMode.LOCAL, {})
    assert "pip install" in error.value.remedy


async def test_a_missing_broker_is_reported_with_every_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.broker.installation.COMMON_DIRS", ())
    monkeypatch.setattr("prebook.devstack.containers.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("prebook.devstack.broker.apt.is_available", lambda: False)
    with pytest.raises(UserError) as error:
        await choose_broker_provider(StackMode.AUTO, {"PATH": ""})
    for remedy in ("apt-get install", "brew install", "Docker", "PREBOOK_STACK=external"):
        assert remedy in error.value.remedy


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, "PREBOOK_DATABASE_URL"),
        ({"PREBOOK_DATABASE_URL": "postgresql+asyncpg://u:p@127.0.0.1:1/d"}, "PREBOOK_AMQP_URL"),
    ],
)
async def test_a_missing_url_of_an_external_server_is_named(settings: dict[str, str], missing: str) -> None:
    with pytest.raises(UserError) as error:
        async with start_stack(ignore_progress, {"PREBOOK_STACK": "external", **settings}):
            pass
    assert missing in error.value.problem + error.value.remedy


def test_an_invalid_mode_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(UserError) as error:
        read_stack_mode({"PREBOOK_STACK": "cloud"})
    assert all(name in error.value.remedy for name in StackMode)


def test_the_server_program_is_preferred_to_the_wrapper_of_debian(tmp_path: Path) -> None:
    for name in ("rabbitmq-server", "erl", "epmd"):
        (tmp_path / "sbin").mkdir(exist_ok=True)
        (tmp_path / "sbin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "sbin" / name).chmod(0o755)
    found = installation.find_rabbitmq({"RABBITMQ_HOME": str(tmp_path), "PATH": str(tmp_path / "sbin")})
    assert found
    assert found.server == tmp_path / "sbin" / "rabbitmq-server"
    assert Path("/usr/sbin") in installation.WRAPPER_DIRS


def test_a_port_in_use_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(UserError, match=str(port)) as error:
            claim_ports([port], "choose another")
        assert error.value.remedy == "choose another"


def test_allocated_ports_are_distinct_and_free() -> None:
    ports = allocate_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))
