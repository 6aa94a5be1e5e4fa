"""Environment of the one service of a container, and the variables that no service gets.

Apart from ``service_environment``, because the supervisor of every container would pay for the imports of that module.
"""

from collections.abc import Collection, Mapping

from prebook.flows import CONSOLE, PROCESSES
from prebook.runtime import paths

SUPERVISOR_SETTINGS = (
    "CONTROL_TOKEN",
    "CONTROL_TOKEN_SHA256",
    *(f"CONTROL_TOKEN_{name.upper()}" for name in (*PROCESSES, CONSOLE)),
    "ROLE_PASSWORDS",
    "CONSOLE_SECRETS",
    "OPERATOR_TOKEN",
)
"""Secrets of the supervisor and the console: no service gets them."""


def container_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a container's one service: the container's, without the supervisor's secrets."""
    given = {k: v for k, v in env.items() if k not in variable_names(SUPERVISOR_SETTINGS)}
    return {"PREBOOK_COUPLINGS": str(paths.couplings_file())} | given


def variable_names(settings: Collection[str]) -> frozenset[str]:
    """Return the variables of the settings: PREBOOK_<NAME>, and PREBOOK_<NAME>_FILE for a file with the value."""
    return frozenset(f"PREBOOK_{name}{suffix}" for name in settings for suffix in ("", "_FILE"))
