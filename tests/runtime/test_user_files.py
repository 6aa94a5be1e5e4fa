"""Files that a user gives to a service or a command: an unusable one is an error with a hint, not a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from prebook.cli.main import main
from prebook.devstack.errors import UserError
from prebook.devstack.suite_state import lock_home
from prebook.lab.burst.command import SIDES, read_sides
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import read_policies
from prebook.runtime.environment import BadSettings
from prebook.runtime.settings import read_settings
from tests.runtime.test_settings import COUPLINGS, NEWEST, VALID

BOM = b"\xef\xbb\xbf"
LATIN_1 = "# Zürich\n".encode("latin-1")
UNUSABLE = {
    "Latin-1": LATIN_1 + COUPLINGS.read_bytes(),
    "empty": b"",
    "UTF-16": COUPLINGS.read_text().encode("utf-16"),
    "binary": bytes(range(256)),
    "deeply nested": b"x = " + b"[" * 100_000,
    "folder": None,
    "missing": None,
}


NO_SECRET = ("Latin-1", "empty", "UTF-16", "binary", "folder", "missing")
"""Unusable as a secret, which may be any ASCII text."""


@pytest.fixture(params=UNUSABLE)
def unusable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    content = UNUSABLE[request.param]
    if content is not None:
        path.write_bytes(content)
    elif request.param == "folder":
        path.mkdir()
    return path


def test_unusable_policies_are_reported_with_their_path(unusable: Path) -> None:
    with pytest.raises(InvalidPolicies, match=str(unusable)):
        read_policies(unusable)
    with pytest.raises(BadSettings, match="PREBOOK_COUPLINGS"):
        read_settings({**VALID, "PREBOOK_COUPLINGS": str(unusable)})


@pytest.mark.parametrize("unusable", NO_SECRET, indirect=True)
def test_an_unusable_secret_is_reported_with_its_variable(unusable: Path) -> None:
    environment = {name: value for name, value in VALID.items() if name != "PREBOOK_SIGNING_SECRETS"}
    with pytest.raises(BadSettings, match=r"PREBOOK_SIGNING_SECRETS: .*; comma-separated secrets") as caught:
        read_settings({**environment, "PREBOOK_SIGNING_SECRETS_FILE": str(unusable)})
    assert "0xfc" not in str(caught.value), "no byte of a secret is shown"


def test_a_byte_order_mark_belongs_neither_to_policies_nor_to_a_secret(tmp_path: Path) -> None:
    couplings = tmp_path / "couplings.toml"
    couplings.write_bytes(BOM + COUPLINGS.read_bytes())
    secret = tmp_path / "secret"
    secret.write_bytes(BOM + NEWEST.encode() + b"\r\n")
    changes = {"PREBOOK_COUPLINGS": str(couplings), "PREBOOK_SIGNING_SECRETS_FILE": str(secret)}
    settings, _ = read_settings({**VALID, **changes})
    assert settings.signing_secrets == (NEWEST,)


COMMANDS = (
    "retry schedule quote_fare --policies FILE",
    "topology draw --policies FILE",
    "topology asyncapi --policies FILE",
    "coupling check --policies FILE",
    "coupling scorecard --figures FILE",
    "topology diff",
    "topology declare --passwords FILE",
    "ordering list",
    "ledger",
    "parking edit 17 --reason x --payload-file FILE",
    "load compare FILE FILE",
    "campaign --arrivals replay --trace FILE",
    "serve booking",
    "setup",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("content", [LATIN_1, b"", BOM, None], ids=["Latin-1", "empty", "only a mark", "folder"])
def test_no_command_ends_with_a_traceback(command: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    names = ("CONTROL_TOKEN_SHA256", "DATABASE_URL", "MANAGEMENT_URL", "MANAGEMENT_USER", "MANAGEMENT_PASSWORD")
    files = {f"PREBOOK_{name}_FILE": str(path) for name in (*names, "ROLE_PASSWORDS", "URL_BOOKING")}
    environment = {**files, "PREBOOK_COUPLINGS": str(path), "PREBOOK_HOME": str(path)}
    arguments = [str(path) if part == "FILE" else part for part in command.split()]
    result = CliRunner(env=environment).invoke(main, arguments)
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in {1, 2}
    assert result.stderr


URLS = ("postgresql+asyncpg://[::1", "postgresql+asyncpg://u:p@127.0.0.1:99999/x", "postgresql+asyncpg://u:p/w@h:x/d")


@pytest.mark.parametrize("url", URLS)
def test_an_unusable_url_is_reported_with_its_variable_and_not_shown(url: str) -> None:
    result = CliRunner(env={"PREBOOK_DATABASE_URL": url}).invoke(main, ["outbox", "list"])
    assert result.exit_code == 1
    assert "PREBOOK_DATABASE_URL" in result.stderr
    assert url not in result.stderr


@pytest.mark.parametrize("command", ["parking list --cause TEXT", "ledger --prefix TEXT", "profile show TEXT", "TEXT"])
def test_an_argument_that_is_not_utf_8_is_a_usage_error(command: str) -> None:
    arguments = [part.replace("TEXT", "\udcff") for part in command.split()]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr


@pytest.mark.parametrize("command", ["--help", "retry schedule quote_fare", "topology draw"])
def test_an_output_without_space_is_an_error_with_a_hint(command: str) -> None:
    program = [sys.executable, "-c", "from prebook.cli.main import main; main(prog_name='prebook')"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*program, *command.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "hint: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_operating_system_that_refuses_is_an_error_with_a_hint() -> None:
    result = CliRunner().invoke(main, ["secrets", "--output-dir", "/proc/no-such-folder"])
    assert result.exit_code == 1
    assert "/proc/no-such-folder" in result.stderr


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_home_that_is_no_folder_is_an_error_with_a_hint(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="file"), lock_home(tmp_path / place):
        pass


def test_an_output_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    output = tmp_path / "missing" / "drawing.svg"
    result = CliRunner().invoke(main, ["topology", "draw", "--output", str(output)])
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


@pytest.mark.parametrize("content", [LATIN_1, b"", b"{}", b'{"side": 1}'])
def test_a_measurement_that_is_none_is_an_error_with_a_hint(content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"{SIDES[0]}.json").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_sides(tmp_path)
