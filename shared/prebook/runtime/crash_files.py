"""Crashes on demand: a file named after a crash point ends the next process that reaches the point.

The lab creates ``<service>.<point>`` in a folder that the processes of a suite share. Whoever removes the file crashes,
so that each file causes one crash.
"""

import os
from pathlib import Path

from prebook.messaging import crash_points
from prebook.messaging.crash_points import CrashPoint

EXIT_CRASHED = 137
"""Exit status of a process that is killed by SIGKILL, as a shell reports it."""


def crash_file_name(service: str, point: CrashPoint) -> str:
    """Return the name of the file that makes ``service`` crash at ``point``."""
    return f"{service}.{point}"


def arm_crash_files(service: str, directory: Path) -> None:
    """Make this process of ``service`` crash at each point for which there is a file in ``directory``."""
    paths = {point: str(directory / crash_file_name(service, point)) for point in CrashPoint}

    def crash_if_requested(point: CrashPoint, _message_id: str) -> None:
        try:
            os.unlink(paths[point])  # noqa: PTH108 - the fastest call, since it is made for every message
        except FileNotFoundError:
            return
        os._exit(EXIT_CRASHED)

    crash_points.arm(crash_if_requested)
