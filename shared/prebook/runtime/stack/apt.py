"""Installing Debian's rabbitmq-server package, without its service being started."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prebook.runtime.stack.child import Command, run
from prebook.runtime.stack.parts import Say
from prebook.runtime.stack.trouble import Trouble
from prebook.runtime.stack.waiting import to_the_end

PACKAGE = "rabbitmq-server"
WITHIN_S = 600.0
POLICY = Path("/usr/sbin/policy-rc.d")
FORBIDDEN = "#!/bin/sh\nexit 101\n"
"""Debian's own convention: a package that is being installed asks this script whether it may start a service."""


def possible() -> bool:
    """Root, on a system with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


async def install(data: Path, say: Say) -> None:
    """Raises Trouble with apt's last words."""
    say(f"RabbitMQ: not found; installing Debian's package {PACKAGE} (apt-get install, its service is not started)")
    log = data / "apt.log"
    with _no_service_starts():
        for arguments in (("update",), ("install", "-y", "--no-install-recommends", PACKAGE)):
            await _apt_get(arguments, log)


async def _apt_get(arguments: tuple[str, ...], log: Path) -> None:
    command = Command(
        args=("apt-get", "-q", *arguments), env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, log=log
    )
    remedy = f"install the package {PACKAGE} by hand (`apt-get install {PACKAGE}`), or start Docker"
    try:
        # Ended halfway it would leave the machine with a package that is neither there nor not there.
        status = await to_the_end(asyncio.ensure_future(run(command, WITHIN_S)))
    except TimeoutError:
        raise Trouble(f"apt-get {arguments[0]} was not done within {WITHIN_S:g} s", remedy) from None
    if status:
        raise Trouble(f"apt-get {arguments[0]} ended with status {status}: {command.last_words()}", remedy)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """A policy that is there already, as in most container images, is left as it is."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(FORBIDDEN)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
