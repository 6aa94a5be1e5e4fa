"""Let the services of a suite write additional fields: Python imports this module first if its folder is on PYTHONPATH.

Each object of each body has a field more than this version knows, with the service that encoded the body. The command
line runs as it is.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = frozenset({"cli", "lab"})


def write_additional_fields(arguments: Sequence[str]) -> None:
    """Change the encoder of bodies in this process if ``arguments``, its command line, run a service."""
    package, _, service = arguments[arguments.index("-m") + 1].partition(".") if "-m" in arguments else ("", "", "")
    if package != "prebook" or not service.isalpha() or service in COMMANDS:
        return
    sys.path.append(str(Path(__file__).parents[3]))
    from prebook.messaging import codec
    from prebook.messaging.body_codec import encode_body
    from tests.messaging.additional_fields import additionally_encoding

    setattr(codec, "encode_body", additionally_encoding(encode_body, lambda: service))  # noqa: B010 - a seed


write_additional_fields(sys.orig_argv)
