"""Which part is chosen, and what is said where none can be."""

import socket
from pathlib import Path

import pytest

from prebook.devstack.broker import installation
from prebook.devstack.errors import Trouble
from prebook.devstack.ports import claim, free_ports, is_free
from prebook.devstack.providers import Mode, broker_rung, database_rung, mode
from prebook.devstack.stack import parts


def silent(_: str) -> None:
    """Progress is of no interest here."""


async def test_without_the_wheel_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.database.embedded.WHEEL", "no_such_wheel")
    with pytest.raises(Trouble) as trouble:
        await database_rung(Mode.LOCAL, {})
    assert "pip install" in trouble.value.remedy


async def test_without_any_broker_every_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prebook.devstack.broker.installation.USUAL", ())
    monkeypatch.setattr("prebook.devstack.containers.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("prebook.devstack.broker.apt.possible", lambda: False)
    with pytest.raises(Trouble) as trouble:
        await broker_rung(Mode.AUTO, {"PATH": ""})
    for way in ("apt-get install", "brew install", "Docker", "PREBOOK_STACK=external"):
        assert way in trouble.value.remedy


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "PREBOOK_DATABASE_URL"),
        ({"PREBOOK_DATABASE_URL": "postgresql+asyncpg://u:p@127.0.0.1:1/d"}, "PREBOOK_AMQP_URL"),
    ],
)
async def test_external_parts_that_are_not_given_are_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(Trouble) as trouble:
        async with parts(silent, {"PREBOOK_STACK": "external", **given}):
            pass
    assert named in trouble.value.problem + trouble.value.remedy


def test_a_wrong_mode_is_refused_with_the_right_ones() -> None:
    with pytest.raises(Trouble) as trouble:
        mode({"PREBOOK_STACK": "cloud"})
    assert all(name in trouble.value.remedy for name in Mode)


def test_debians_wrapper_is_passed_over_for_the_real_program(tmp_path: Path) -> None:
    for name in ("rabbitmq-server", "erl", "epmd"):
        (tmp_path / "sbin").mkdir(exist_ok=True)
        (tmp_path / "sbin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "sbin" / name).chmod(0o755)
    found = installation.installation({"RABBITMQ_HOME": str(tmp_path), "PATH": str(tmp_path / "sbin")})
    assert found
    assert found.server == tmp_path / "sbin" / "rabbitmq-server"
    assert Path("/usr/sbin") in installation.WRAPPERS


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(Trouble, match=str(port)) as trouble:
            claim([port], "choose another")
        assert trouble.value.remedy == "choose another"


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))
