"""Which provider is chosen, and the error where none is available."""

import socket
from pathlib import Path

import pytest

from prebook.devstack.broker import installation
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports, claim_ports, is_free
from prebook.devstack.providers import StackMode, choose_broker_provider, choose_database_provider, read_stack_mode
from prebook.devstack.stack import start_stack


def silent(_: str) -> None:
    """Progress is of no interest here."""


async def test_without_the_wheel_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.database.embedded.WHEEL_PACKAGE", "no_such_wheel")
    with pytest.raises(UserError) as error:
        await choose_database_provider(StackMode.LOCAL, {})
    assert "pip install" in error.value.remedy


async def test_without_any_broker_every_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.broker.installation.COMMON_DIRS", ())
    monkeypatch.setattr("prebook.devstack.containers.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("prebook.devstack.broker.apt.is_available", lambda: False)
    with pytest.raises(UserError) as error:
        await choose_broker_provider(StackMode.AUTO, {"PATH": ""})
    for way in ("apt-get install", "brew install", "Docker", "PREBOOK_STACK=external"):
        assert way in error.value.remedy


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "PREBOOK_DATABASE_URL"),
        ({"PREBOOK_DATABASE_URL": "postgresql+asyncpg://u:p@127.0.0.1:1/d"}, "PREBOOK_AMQP_URL"),
    ],
)
async def test_external_servers_that_are_not_given_are_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(UserError) as error:
        async with start_stack(silent, {"PREBOOK_STACK": "external", **given}):
            pass
    assert named in error.value.problem + error.value.remedy


def test_a_wrong_mode_is_refused_with_the_right_ones() -> None:
    with pytest.raises(UserError) as error:
        read_stack_mode({"PREBOOK_STACK": "cloud"})
    assert all(name in error.value.remedy for name in StackMode)


def test_debians_wrapper_is_passed_over_for_the_real_program(tmp_path: Path) -> None:
    for name in ("rabbitmq-server", "erl", "epmd"):
        (tmp_path / "sbin").mkdir(exist_ok=True)
        (tmp_path / "sbin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "sbin" / name).chmod(0o755)
    found = installation.find_rabbitmq({"RABBITMQ_HOME": str(tmp_path), "PATH": str(tmp_path / "sbin")})
    assert found
    assert found.server == tmp_path / "sbin" / "rabbitmq-server"
    assert Path("/usr/sbin") in installation.WRAPPER_DIRS


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(UserError, match=str(port)) as error:
            claim_ports([port], "choose another")
        assert error.value.remedy == "choose another"


def test_free_ports_are_different_and_free() -> None:
    ports = allocate_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))
