"""Settings of the lab: one error names every missing or invalid variable, with the remedy."""

import os
from pathlib import Path

import pytest

from prebook.devstack.errors import UserError
from prebook.devstack.lab_process import find_lab_environment
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.settings import InvalidEnvironment, read_settings
from tests.lab.stub_suite import StubSuite

ENVIRON = StubSuite(url="http://127.0.0.1:8010").environ
REQUIRED = (
    *("PREBOOK_URL_BOOKING", "PREBOOK_INTERNAL_URL_BOOKING", "PREBOOK_INTERNAL_URL_NOTIFICATION"),
    "PREBOOK_STACK_INFO",
)


def test_the_error_names_every_missing_variable_and_the_remedy() -> None:
    with pytest.raises(InvalidEnvironment) as raised:
        read_settings({})
    for name in REQUIRED:
        assert name in str(raised.value)
    assert "prebook demo" in raised.value.remedy


def test_without_a_running_suite_the_error_names_prebook_up_instead_of_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"PREBOOK_HOME": str(tmp_path)})
    with pytest.raises(UserError, match=f"no suite is running in {tmp_path}") as raised:
        find_lab_environment()
    assert "prebook up" in raised.value.remedy


def test_a_suite_named_by_variables_has_precedence_over_the_one_that_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {**ENVIRON, "PREBOOK_HOME": str(tmp_path)})
    assert find_lab_environment() == {**ENVIRON, "PREBOOK_HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREBOOK_URL_BOOKING", "127.0.0.1:8010"),
        ("PREBOOK_INTERNAL_URL_NOTIFICATION", ""),
        ("PREBOOK_INTERNAL_URL_FLEETS", "127.0.0.1:8010"),
        ("PREBOOK_URL_OPERATIONS", "127.0.0.1:8010"),
        ("PREBOOK_STACK_INFO", "{"),
        ("PREBOOK_STACK_INFO", '{"mode": "local"}'),
    ],
)
def test_the_error_names_only_the_variable_with_an_invalid_value(name: str, value: str) -> None:
    with pytest.raises(InvalidEnvironment) as raised:
        read_settings({**ENVIRON, name: value})
    problems = [line for line in str(raised.value).splitlines() if line.startswith("  - ")]
    assert [line for line in problems if name in line] == problems


def test_variables_for_fault_injection_are_optional() -> None:
    required_only = {name: value for name, value in ENVIRON.items() if name in REQUIRED}
    addresses = read_settings(required_only).addresses
    assert (set(addresses.public), set(addresses.internal)) == ({"booking"}, {"booking", "notification"})


async def test_the_token_may_be_read_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret-token\n")
    without_token = {name: value for name, value in ENVIRON.items() if name != "PREBOOK_CONTROL_TOKEN"}
    async with open_session() as session:
        access = fault_access.read_fault_access(
            session, {**without_token, "PREBOOK_CONTROL_TOKEN_FILE": str(token_file)}
        )
    assert set(access.control_tokens.values()) == {"secret-token"}
    assert "secret-token" not in repr(access)


async def test_each_supervisor_may_have_a_token_of_its_own() -> None:
    own = {"PREBOOK_CONTROL_TOKEN": "common", "PREBOOK_CONTROL_TOKEN_PRICING": "of-pricing"}
    async with open_session() as session:
        tokens = fault_access.read_fault_access(session, {**ENVIRON, **own}).control_tokens
    assert (tokens["booking"], tokens["pricing"]) == ("common", "of-pricing")
