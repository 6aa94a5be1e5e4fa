"""The load test as a program of its own: it is to see the suite over the wire only."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from prebook.devstack.child_process import Command, spawn

STOP_WITHIN_S = 10.0
PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Of a command whose arguments are a program's own."""
PROGRAM = "PREBOOK_PROGRAM"
"""By what name it is called: its help says that."""
NO_SUITE = "PREBOOK_NO_SUITE"
"""Why there is none to reach. The program says so itself, once nothing is wrong with its arguments."""


async def run(arguments: Sequence[str], told: Mapping[str, str]) -> int:
    """Its exit status. ``told``: what it needs to reach the suite, over our own environment."""
    command = Command(
        args=(sys.executable, "-m", "loadtest", *arguments),
        env={**os.environ, PROGRAM: "prebook load", **told},
        farewell=signal.SIGINT,
    )
    child = await spawn(command)
    try:
        return await child.wait()
    finally:
        await child.stop(STOP_WITHIN_S)
