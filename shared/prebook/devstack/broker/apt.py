"""Installing Debian's rabbitmq-server package, without its service being started."""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from prebook.devstack.broker import installation
from prebook.devstack.child_process import Command, run
from prebook.devstack.errors import Trouble
from prebook.devstack.polling import to_the_end
from prebook.devstack.servers import Say

PACKAGE = "rabbitmq-server"
WITHIN_S, AGAIN_S = 600.0, 0.1
PATIENT = ("-o", "DPkg::Lock::Timeout=120")
"""Seconds for which somebody else's installation is waited for."""
REMEDY = f"install the package {PACKAGE} by hand (`apt-get install {PACKAGE}`), or start Docker"
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
    async with one_at_a_time(POLICY.parent):
        if installation.installation():
            return
        with _no_service_starts():
            with contextlib.suppress(
                Trouble
            ):  # the lists may be good as they are, and be locked by the system's own job
                await _apt_get(("update",), log)
            await _apt_get(("install", "-y", "--no-install-recommends", PACKAGE), log)


async def _apt_get(arguments: tuple[str, ...], log: Path) -> None:
    command = Command(
        args=("apt-get", "-q", *PATIENT, *arguments), env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, log=log
    )
    try:
        # Ended halfway it would leave the machine with a package that is neither there nor not there.
        status = await to_the_end(asyncio.ensure_future(run(command, WITHIN_S)))
    except TimeoutError:
        raise Trouble(f"apt-get {arguments[0]} was not done within {WITHIN_S:g} s", REMEDY) from None
    if status:
        raise Trouble(f"apt-get {arguments[0]} ended with status {status}: {command.last_words()}", REMEDY)


@asynccontextmanager
async def one_at_a_time(place: Path, within_s: float = WITHIN_S) -> AsyncIterator[None]:
    """Of several of us that find nothing on this machine, the first installs: apt itself turns the others away.

    ``place``: a folder that the kernel's lock is on; nothing is written there. Raises Trouble.
    """
    held = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await _lock(held, within_s)
        yield
    finally:
        os.close(held)


async def _lock(held: int, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not _locked(held):  # noqa: ASYNC110 - the kernel's lock tells nobody that it is free
                await asyncio.sleep(AGAIN_S)
    except TimeoutError:
        raise Trouble(f"another installation of {PACKAGE} was not done within {within_s:g} s", REMEDY) from None


def _locked(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
