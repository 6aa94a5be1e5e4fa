"""The lab as a process of its own: it reaches the suite over the network only, as any client does."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from prebook.devstack.child_process import Command, spawn

LAB_MODULE = "prebook.lab"
BENCH_MODULE = "prebook.lab.bench"
STOP_TIMEOUT_S = 10.0
BENCH_STOP_TIMEOUT_S = 20.0
"""The bench stops a broker, a database and processes of its own."""
PROGRAM_NAME_VARIABLE = "PREBOOK_PROGRAM_NAME"
"""The name that the lab's usage texts call it by."""
NO_SUITE_VARIABLE = "PREBOOK_NO_SUITE_REASON"
"""Why no suite can be reached. The lab reports it itself, after it has checked its arguments."""


async def run_lab_process(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    module: str = LAB_MODULE,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> int:
    """Run ``python -m MODULE ARGUMENTS`` and return its exit status.

    ``environment``: what it needs to reach the suite, in addition to this process's own variables.
    """
    command = Command(
        args=(sys.executable, "-m", module, *arguments),
        env={**os.environ, PROGRAM_NAME_VARIABLE: "prebook load", **environment},
        stop_signal=signal.SIGINT,
    )
    child = await spawn(command)
    try:
        return await child.wait()
    finally:
        await child.stop(stop_timeout_s)
