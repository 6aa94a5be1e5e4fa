"""Settings of a command, from PREBOOK_* variables."""

import os
from typing import TypeVar

import msgspec

from prebook.devstack.errors import UserError
from prebook.runtime import environment
from prebook.runtime.environment import BadSettings

T = TypeVar("T", bound=msgspec.Struct)


def read_settings(settings_type: type[T]) -> T:
    """Read PREBOOK_<FIELD>, or the file that PREBOOK_<FIELD>_FILE names. Raises UserError naming every wrong one."""
    try:
        return environment.read(settings_type, os.environ)
    except BadSettings as error:
        raise UserError(str(error), "set the variables, or <NAME>_FILE to a file that holds the value") from error
