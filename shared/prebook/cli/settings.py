"""Settings of a command, from PREBOOK_* variables."""

import os
from typing import Annotated, TypeVar

import msgspec

from prebook.devstack.errors import UserError
from prebook.runtime import environment
from prebook.runtime.environment import BadSettings

T = TypeVar("T", bound=msgspec.Struct)


AdministratorDatabaseUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^postgresql\+asyncpg://",
        description="database URL with the right to create schemas and roles",
        examples=["postgresql+asyncpg://admin:password@host:port/database"],
    ),
]
ManagementUrl = Annotated[
    str,
    msgspec.Meta(
        pattern="^https?://",
        description="base URL of the broker's management API",
        examples=["http://host:15672"],
    ),
]
ManagementUser = Annotated[str, msgspec.Meta(description="an administrator of the broker")]
ManagementPassword = Annotated[str, msgspec.Meta(description="the administrator's password")]


ConsoleControlToken = Annotated[
    str,
    msgspec.Meta(
        min_length=16,
        description="random bearer token of the clients of the console's control API and control room",
    ),
]


class AdministratorSettings(msgspec.Struct, frozen=True):
    """Access to database and broker as their administrator. Each field is a variable PREBOOK_<NAME>."""

    database_url: AdministratorDatabaseUrl
    management_url: ManagementUrl
    management_user: ManagementUser
    management_password: ManagementPassword


def read_settings(settings_type: type[T]) -> T:
    """Read PREBOOK_<FIELD>, or the file that PREBOOK_<FIELD>_FILE names. Raises UserError naming every wrong one."""
    try:
        return environment.read(settings_type, os.environ)
    except BadSettings as error:
        raise UserError(str(error), "set the variables, or <NAME>_FILE to a file that holds the value") from error
