"""The state of the running suite: a file in its home that only its user's commands can read."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import replace_file, write_private_file
from prebook.runtime import paths
from prebook.text_file import read_text

STATE_FILE = "suite.json"
LOCK_FILE = "lock"


class SuiteState(msgspec.Struct, frozen=True, kw_only=True):
    """URLs and secrets of a running suite; the file is removed when the suite stops."""

    owner_pid: int
    mode: str
    broker: str
    """Name and version, such as ``RabbitMQ 4.0.5``."""
    database: str
    urls: dict[str, str]
    """Base URL of the public listener of each service."""
    internal_urls: dict[str, str]
    """Base URL of the internal listener of each service."""
    control_url: str
    control_token: str
    page_url: str
    """Base URL of the control room, which runs in the process of `prebook up`."""
    operator_token: str
    """Token by which the console uses operations."""
    management_url: str
    management_user: str
    management_password: str
    amqp_url: str
    """URL with an administrator's credentials, like ``database_url``."""
    archive_url: str
    """The broker, with the credentials of the archive reader."""
    subscriber_urls: dict[str, str]
    """The broker, with the credentials of each subscriber to confirmed rides."""
    database_url: str
    signing_secrets: dict[str, tuple[str, ...]]
    """Active secrets by which each service, and the console, signs its calls to services."""
    broker_pid: int | None
    database_pid: int | None
    secrets_dir: str
    """Folder of the files from which the services read their secrets."""
    data_dir: str
    logs: str

    def __repr__(self) -> str:
        return "SuiteState(<not printed: it holds secrets>)"


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Allow one suite at a time in a home. The kernel releases the lock even after SIGKILL. Raises UserError."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{home} cannot be used: {error}", "set PREBOOK_HOME to another folder") from error
    with (home / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"a suite is already running in {home}", "stop it with Ctrl-C, or set PREBOOK_HOME to another folder"
            ) from None
        yield


@contextmanager
def write_suite_state(home: Path, state: SuiteState) -> Iterator[None]:
    """Write the state file; it exists while the block runs."""
    path = home / STATE_FILE
    write_private_file(path, msgspec.json.format(msgspec.json.encode(state)).decode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def change_suite_state(home: Path, **changes: Any) -> None:
    """Change fields of the state of the suite in this home. Raises UserError if none is running."""
    changed = msgspec.structs.replace(read_suite_state(home), **changes)
    replace_file(home / STATE_FILE, msgspec.json.format(msgspec.json.encode(changed)).decode())


def read_suite_state(home: Path) -> SuiteState:
    """Read the state of the suite in this home. Raises UserError if none is running."""
    remedy = "start one with `prebook up`, or set PREBOOK_HOME to the home of a running suite"
    path = home / STATE_FILE
    try:
        found = msgspec.json.decode(read_text(path), type=SuiteState)
    except FileNotFoundError:
        raise UserError(f"no suite is running in {home}", remedy) from None
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", remedy) from error
    if not _is_locked(home):
        raise UserError(f"the suite in {home} was killed and is no longer running", remedy)
    return found


def find_running_suite() -> SuiteState:
    """Read the state of the suite that `prebook up` runs on this machine. Raises UserError if none is running."""
    return read_suite_state(paths.home_dir())


def _is_locked(home: Path) -> bool:
    try:
        with lock_home(home):
            return False
    except UserError:
        return True
