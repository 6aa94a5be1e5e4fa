"""Which broker the command line speaks to: the one that the environment names, else the running suite's."""

import os
from collections.abc import Mapping

import msgspec

from prebook.rabbit.management import Management
from prebook.runtime import environment
from prebook.runtime.environment import BadSettings
from prebook.runtime.places import home

HINT = "start the suite with `prebook up`, or set PREBOOK_MANAGEMENT_URL, _USER and _PASSWORD (or _PASSWORD_FILE)"


class NoBroker(Exception):
    """None is named and none is running here; the text says what to do."""


class BrokerAccess(msgspec.Struct, frozen=True, kw_only=True):
    """In the environment as PREBOOK_MANAGEMENT_URL and so on; in a suite's stack.json under these names."""

    management_url: str
    management_user: str
    management_password: str


def management(variables: Mapping[str, str] = os.environ) -> Management:
    """Raises NoBroker."""
    access = _named(variables) if _is_named(variables) else _running()
    return Management(access.management_url, access.management_user, access.management_password)


def _is_named(variables: Mapping[str, str]) -> bool:
    return "PREBOOK_MANAGEMENT_URL" in variables


def _named(variables: Mapping[str, str]) -> BrokerAccess:
    try:
        return environment.read(BrokerAccess, variables)
    except BadSettings as error:
        raise NoBroker(f"{error}; {HINT}") from error


def _running() -> BrokerAccess:
    path = home() / "stack.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=BrokerAccess)
    except FileNotFoundError:
        raise NoBroker(f"no suite runs here ({path} is not there); {HINT}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise NoBroker(f"{path} does not tell of a broker: {error}; {HINT}") from error
