"""The load test as a program of its own: it is to see the suite over the wire only."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from prebook.devstack.child_process import Command, spawn

STOP_TIMEOUT_S = 10.0
PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Of a command whose arguments are a program's own."""
PROGRAM_NAME_VARIABLE = "PREBOOK_PROGRAM_NAME"
"""By what name it is called: its help says that."""
NO_SUITE_VARIABLE = "PREBOOK_NO_SUITE_REASON"
"""Why there is none to reach. The program says so itself, once nothing is wrong with its arguments."""


async def run_lab_process(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Its exit status. ``told``: what it needs to reach the suite, over our own environment."""
    command = Command(
        args=(sys.executable, "-m", "prebook.lab", *arguments),
        env={**os.environ, PROGRAM_NAME_VARIABLE: "prebook load", **environment},
        stop_signal=signal.SIGINT,
    )
    child = await spawn(command)
    try:
        return await child.wait()
    finally:
        await child.stop(STOP_TIMEOUT_S)
