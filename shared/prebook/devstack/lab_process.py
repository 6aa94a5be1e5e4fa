"""The lab as a process of its own: it reaches the suite over the network only, as any client does."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from prebook.devstack.child_process import Command, spawn
from prebook.devstack.service_environment import lab_environment
from prebook.devstack.suite_state import read_suite_state
from prebook.flows import PROCESSES
from prebook.runtime import paths

LAB_MODULE = "prebook.lab"
STOP_TIMEOUT_S = 10.0


async def run_lab_process(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``python -m prebook.lab ARGUMENTS`` and return its exit status.

    ``environment``: what it needs to reach the suite, in addition to this process's own variables.
    """
    command = Command(
        args=(sys.executable, "-m", LAB_MODULE, *arguments),
        env={**os.environ, **environment},
        stop_signal=signal.SIGINT,
    )
    child = await spawn(command)
    try:
        return await child.wait()
    finally:
        await child.stop(STOP_TIMEOUT_S)


def find_lab_environment() -> Mapping[str, str]:
    """Return the variables by which the lab reaches a suite.

    They are this process's own and, unless these name a suite, those of the suite that `prebook up` runs here. Raises
    UserError if there is neither.
    """
    names = {f"PREBOOK_URL_{process.upper()}{suffix}" for process in PROCESSES for suffix in ("", "_FILE")}
    if names & os.environ.keys():
        return os.environ
    return {**os.environ, **lab_environment(read_suite_state(paths.home_dir()))}
