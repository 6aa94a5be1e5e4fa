"""A command's own PREBOOK_* variables."""

import os
from typing import TypeVar

import msgspec

from prebook.devstack.errors import Trouble
from prebook.runtime import environment
from prebook.runtime.environment import BadSettings

T = TypeVar("T", bound=msgspec.Struct)


def told(settings: type[T]) -> T:
    """Raises Trouble that names every wrong one at once."""
    try:
        return environment.read(settings, os.environ)
    except BadSettings as error:
        raise Trouble(str(error), "set the variables, or <NAME>_FILE to a file that holds the value") from error
