"""Which broker the command line speaks to: the one that the environment names, else the running suite's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from prebook.cli.settings import read_settings
from prebook.devstack.errors import UserError
from prebook.devstack.suite_state import read_suite_state
from prebook.flows import SERVICES
from prebook.messaging.channel import Unreachable
from prebook.rabbit.management import ManagementClient
from prebook.replay.receivers import Receiver
from prebook.runtime import environment, paths
from prebook.runtime.environment import BadSettings
from prebook.runtime.paths import home_dir

HINT = "start the suite with `prebook up`, or set PREBOOK_MANAGEMENT_URL, _USER and _PASSWORD (or _PASSWORD_FILE)"


class BrokerNotFound(Exception):
    """None is named and none is running here; the text says what to do."""


class BrokerAccess(msgspec.Struct, frozen=True, kw_only=True):
    """In the environment as PREBOOK_MANAGEMENT_URL and so on; in a suite's stack.json under these names."""

    management_url: str
    management_user: str
    management_password: str


def find_broker(variables: Mapping[str, str] = os.environ) -> ManagementClient:
    """Raises NoBroker."""
    access = _read_environment(variables) if _is_configured(variables) else _read_suite_state()
    return ManagementClient(access.management_url, access.management_user, access.management_password)


def _is_configured(variables: Mapping[str, str]) -> bool:
    return "PREBOOK_MANAGEMENT_URL" in variables


def _read_environment(variables: Mapping[str, str]) -> BrokerAccess:
    try:
        return environment.read(BrokerAccess, variables)
    except BadSettings as error:
        raise BrokerNotFound(f"{error}; {HINT}") from error


def _read_suite_state() -> BrokerAccess:
    path = home_dir() / "stack.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=BrokerAccess)
    except FileNotFoundError:
        raise BrokerNotFound(f"no suite runs here ({path} is not there); {HINT}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise BrokerNotFound(f"{path} does not tell of a broker: {error}; {HINT}") from error


class ArchiveSettings(msgspec.Struct, frozen=True):
    """PREBOOK_ARCHIVE_URL, or a file of that in PREBOOK_ARCHIVE_URL_FILE."""

    archive_url: Annotated[
        str, msgspec.Meta(pattern="^amqps?://", description="amqp://prebook_archivist:password@host:port/vhost")
    ]


@dataclass(frozen=True, repr=False)
class ArchiveAccess:
    """``urls``: service -> base URL of its HTTP; one that is not there cannot be asked."""

    archive_url: str
    service_urls: Mapping[str, str]

    def can_ask(self, receiver: Receiver) -> bool:
        return receiver.service in self.service_urls


def find_archive() -> ArchiveAccess:
    """Raises Trouble where neither is there."""
    if {"PREBOOK_ARCHIVE_URL", "PREBOOK_ARCHIVE_URL_FILE"} & os.environ.keys():
        given = {service: os.environ.get(f"PREBOOK_URL_{service.upper()}", "") for service in SERVICES}
        return ArchiveAccess(
            read_settings(ArchiveSettings).archive_url, {service: url for service, url in given.items() if url}
        )
    suite = read_suite_state(paths.home_dir())
    return ArchiveAccess(suite.archive_url, suite.urls)


def archive_unreadable(error: Unreachable) -> UserError:
    return UserError(
        str(error), "`prebook doctor` tells whether the broker answers; `prebook topology diff`, what it lacks"
    )
