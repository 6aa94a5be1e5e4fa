"""Let services of a suite know only the first version of every message: Python imports this module first if its folder
is on PYTHONPATH.

A file, which an environment variable names, lists these services at the start of their processes. A service that is
killed after its line is gone is upgraded. Such a service writes the first versions, too, as do those that a second file
lists, which read all versions.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

OLDER_SERVICES = "OLDER_SERVICES"
OLDER_WRITERS = "OLDER_WRITERS"
FIRST_VERSIONS = "find_driver=1,booking_ended=1"


def service_of(arguments: Sequence[str]) -> str:
    """Return the service that a command line runs; empty if it runs none."""
    package, _, service = arguments[arguments.index("-m") + 1].partition(".") if "-m" in arguments else ("", "", "")
    return service if package == "prebook" else ""


def is_listed(service: str, file: str) -> bool:
    """Return whether ``file``, if there is one, lists a service."""
    return bool(service and file) and service in Path(file).read_text().split()


def write_first_versions(service: str, *files: str) -> None:
    """Let this process write the first versions if one of ``files`` lists its service."""
    if any(is_listed(service, file) for file in files):
        os.environ["PREBOOK_MESSAGE_VERSIONS"] = FIRST_VERSIONS


def forget_later_versions(service: str, file: str) -> None:
    """Remove later versions from this process if ``file`` lists its service.

    Booking writes versioned messages and receives none: its writer needs the newest version to write the first one.
    """
    if service == "booking" or not is_listed(service, file):
        return
    from prebook.messaging import body_codec, codec  # noqa: F401 - codec registers the messages

    for name in [name for name in body_codec.BODY_TYPES if not name.endswith(".v1")]:
        del body_codec.BODY_TYPES[name]
        del body_codec._DECODERS[name]


SERVICE = service_of(sys.orig_argv)
write_first_versions(SERVICE, os.environ.get(OLDER_SERVICES, ""), os.environ.get(OLDER_WRITERS, ""))
forget_later_versions(SERVICE, os.environ.get(OLDER_SERVICES, ""))
