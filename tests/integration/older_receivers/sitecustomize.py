"""Let services of a suite know only the first version of every message: Python imports this module first if its folder
is on PYTHONPATH.

A file, which an environment variable names, lists these services at the start of their processes. A service that is
killed after its line is gone is upgraded.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

OLDER_SERVICES = "OLDER_SERVICES"


def forget_later_versions(arguments: Sequence[str], file: str) -> None:
    """Remove later versions from this process if ``arguments``, its command line, run a service that ``file`` lists."""
    package, _, service = arguments[arguments.index("-m") + 1].partition(".") if "-m" in arguments else ("", "", "")
    if package != "prebook" or not file or service not in Path(file).read_text().split():
        return
    from prebook.messaging import body_codec, codec  # noqa: F401 - codec registers the messages

    for name in [name for name in body_codec.BODY_TYPES if not name.endswith(".v1")]:
        del body_codec.BODY_TYPES[name]
        del body_codec._DECODERS[name]


forget_later_versions(sys.orig_argv, os.environ.get(OLDER_SERVICES, ""))
