"""`prebook ready`: the health check of a container."""

import urllib.error
import urllib.request

import rich_click as click

from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.terminal import echo

REQUEST_TIMEOUT_S = 3.0
MAX_REASON_CHARS = 500
REMEDY = "read the log of the service; `prebook up` starts a suite if none is running"


@click.command(epilog=examples("prebook ready http://127.0.0.1:8080"))
@click.argument("url")
def ready(url: str) -> None:
    """Check whether the service at URL is ready.

    Exit status 0 if it is ready; otherwise 1, and stderr names what is missing.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/readyz", timeout=REQUEST_TIMEOUT_S):  # noqa: S310 - the caller's URL
            echo("ready")
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace")[:MAX_REASON_CHARS]
        raise UserError(f"{url} is not ready: {reason}", REMEDY) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{url} does not answer: {error}", REMEDY) from error
