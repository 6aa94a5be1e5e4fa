"""Passwords of a container deployment: ownership, consistency, and generation only once."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prebook.cli.secrets import COMPLETION_FILE, OWNER_ONLY_MODE, generate_secrets, secrets
from prebook.devstack.container_users import CONSOLE_UID
from prebook.devstack.errors import UserError
from prebook.devstack.service_environment import generate_passwords
from prebook.devstack.supervisor.control_api import token_digest
from prebook.flows import CONSOLE, PROCESSES, SERVICES
from prebook.topology.access import ACCOUNTS
from tests.topology.ride_examples import TABLES, read_tables

HOSTS = ("postgres:5432", "rabbitmq:5672")


def test_every_service_gets_its_own_accounts_in_files_that_only_it_can_read() -> None:
    files = generate_secrets(*HOSTS)
    for uid, service in enumerate(SERVICES, 10001):
        for file in ("database_url", "amqp_url"):
            text, owner, mode = files[f"{service}/{file}"]
            assert (owner, mode) == (uid, OWNER_ONLY_MODE)
            assert f"://prebook_{service}:" in text


def test_the_deploy_job_sets_the_passwords_that_the_services_use() -> None:
    files = generate_secrets(*HOSTS)
    passwords = json.loads(files["setup/role_passwords"][0])
    assert passwords.keys() == set(ACCOUNTS)
    for service in PROCESSES:
        assert f":{passwords[service]}@{HOSTS[0]}/" in files[f"{service}/database_url"][0]
    for account, password in passwords.items():
        assert f":{password}@{HOSTS[1]}/" in files[f"{account}/amqp_url"][0]


def test_two_generations_share_no_secret() -> None:
    first = generate_secrets(*HOSTS)
    second = generate_secrets(*HOSTS)
    assert not {text for text, *_ in first.values()} & {text for text, *_ in second.values()}


def test_no_service_can_read_a_control_token_and_each_supervisor_has_its_own() -> None:
    files = generate_secrets(*HOSTS)
    tokens = {service: files[f"{CONSOLE}/{service}_control_token"] for service in PROCESSES}
    assert len({text for text, *_ in tokens.values()}) == len(PROCESSES)
    assert {(owner, mode) for _, owner, mode in tokens.values()} == {(CONSOLE_UID, OWNER_ONLY_MODE)}
    for uid, service in enumerate(PROCESSES, 10001):
        readable = [text for text, owner, _ in files.values() if owner == uid]
        assert not [text for text in readable for token, *_ in tokens.values() if token in text]
        digest, owner, _ = files[f"{service}/control_token_sha256"]
        assert (digest, owner) == (token_digest(tokens[service][0]), uid)


def test_every_file_is_readable_by_its_owner_only() -> None:
    assert {mode for *_, mode in generate_secrets(*HOSTS).values()} == {OWNER_ONLY_MODE}


def test_the_completion_file_is_written_last() -> None:
    assert list(generate_secrets(*HOSTS))[-1] == COMPLETION_FILE


def test_existing_secrets_are_kept(tmp_path: Path) -> None:
    (tmp_path / CONSOLE).mkdir()
    (tmp_path / COMPLETION_FILE).write_text("generated earlier")
    result = CliRunner().invoke(secrets, ["--output-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / COMPLETION_FILE]
    assert (tmp_path / COMPLETION_FILE).read_text() == "generated earlier"


def test_each_subscriber_to_confirmed_rides_gets_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    couplings = tmp_path / "couplings.toml"
    subscribers = read_tables(couplings, TABLES).queues.keys()
    monkeypatch.setenv("PREBOOK_COUPLINGS", str(couplings))
    assert generate_passwords().keys() == {*ACCOUNTS, *subscribers}
    files = generate_secrets(*HOSTS)
    assert json.loads(files["setup/role_passwords"][0]).keys() == {*ACCOUNTS, *subscribers}
    for account in subscribers:
        text, owner, mode = files[f"{account}/amqp_url"]
        assert text.startswith(f"amqp://prebook_{account}:")
        assert (owner, mode) == (CONSOLE_UID, OWNER_ONLY_MODE), "the console takes rides for operators"


def test_overlapping_desks_are_reported_with_the_file_to_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    couplings = tmp_path / "couplings.toml"
    couplings.write_text("[desks.a]\n[desks.b]")
    monkeypatch.setenv("PREBOOK_COUPLINGS", str(couplings))
    with pytest.raises(UserError, match="a and b") as raised:
        generate_passwords()
    assert raised.value.remedy == f"correct {couplings}"


def test_a_user_without_privileges_keeps_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("only the administrator may give files away")

    monkeypatch.setattr("os.chown", refuse)
    assert isinstance(CliRunner().invoke(secrets, ["--output-dir", str(tmp_path / "a")]).exception, PermissionError)
    result = CliRunner().invoke(secrets, ["--output-dir", str(tmp_path / "b"), "--keep-owner"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "b" / COMPLETION_FILE).stat().st_mode & 0o777 == OWNER_ONLY_MODE
