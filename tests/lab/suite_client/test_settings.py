"""A campaign that cannot start says everything that is missing or wrong, at once, with the remedy."""

import os
from pathlib import Path

import pytest

from prebook.devstack.errors import UserError
from prebook.devstack.lab_process import find_lab_environment
from prebook.lab.faults import fault_access
from prebook.lab.load.generator import open_session
from prebook.lab.suite_client.settings import InvalidEnvironment, read_settings
from tests.lab.stub_suite import StubSuite

GIVEN = StubSuite(url="http://127.0.0.1:8010").environ
NEEDED = ("PREBOOK_URL_BOOKING", "PREBOOK_URL_NOTIFICATION", "PREBOOK_STACK_INFO")


def test_everything_missing_is_named_at_once_with_the_remedy() -> None:
    with pytest.raises(InvalidEnvironment) as wrong:
        read_settings({})
    for name in NEEDED:
        assert name in str(wrong.value)
    assert "prebook demo" in str(wrong.value)


def test_a_suite_that_does_not_run_is_no_matter_of_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"PREBOOK_HOME": str(tmp_path)})
    with pytest.raises(UserError, match=f"no suite runs in {tmp_path}") as wrong:
        find_lab_environment()
    assert "prebook up" in wrong.value.remedy


def test_a_suite_that_the_variables_name_is_taken_before_the_one_that_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {**GIVEN, "PREBOOK_HOME": str(tmp_path)})
    assert find_lab_environment() == {**GIVEN, "PREBOOK_HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREBOOK_URL_BOOKING", "127.0.0.1:8010"),
        ("PREBOOK_URL_NOTIFICATION", ""),
        ("PREBOOK_URL_OPERATIONS", "127.0.0.1:8010"),
        ("PREBOOK_STACK_INFO", "{"),
        ("PREBOOK_STACK_INFO", '{"mode": "local"}'),
    ],
)
def test_a_wrong_value_is_named_alone(name: str, value: str) -> None:
    with pytest.raises(InvalidEnvironment) as wrong:
        read_settings({**GIVEN, name: value})
    named = [line for line in str(wrong.value).splitlines() if line.startswith("  - ")]
    assert [line for line in named if name in line] == named


def test_what_is_only_needed_for_breaking_may_be_missing() -> None:
    bare = {name: value for name, value in GIVEN.items() if name in NEEDED}
    assert set(read_settings(bare).urls) == {"booking", "notification"}


async def test_a_value_may_stand_in_a_file_and_the_token_is_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hush\n")
    without = {name: value for name, value in GIVEN.items() if name != "PREBOOK_CONTROL_TOKEN"}
    async with open_session() as session:
        found = fault_access.read_fault_access(session, {**without, "PREBOOK_CONTROL_TOKEN_FILE": str(secret)})
    assert found.control_token == "hush"
    assert "hush" not in repr(found)
