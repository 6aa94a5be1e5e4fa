"""Installation of Debian's package rabbitmq-server, without starting its service."""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from prebook.asyncio_tools import wait_uncancelled
from prebook.devstack.broker import installation
from prebook.devstack.child_process import Command, run
from prebook.devstack.errors import UserError
from prebook.devstack.servers import Log

PACKAGE = "rabbitmq-server"
INSTALL_TIMEOUT_S = 600.0
RETRY_INTERVAL_S = 0.1
DPKG_LOCK_OPTIONS = ("-o", "DPkg::Lock::Timeout=120")
"""apt waits up to 120 s for another process's installation."""
INSTALL_REMEDY = f"install the package {PACKAGE} by hand (`apt-get install {PACKAGE}`), or start Docker"
POLICY_SCRIPT = Path("/usr/sbin/policy-rc.d")
DENY_SERVICE_START = "#!/bin/sh\nexit 101\n"
"""Debian's convention: an installation runs this script to ask whether it may start a service; 101 forbids it."""


def is_available() -> bool:
    """Return whether packages can be installed: this process is root, on a system with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


async def install_rabbitmq(data_dir: Path, log: Log) -> None:
    """Install Debian's package. Raises UserError with the end of apt's log."""
    log(f"RabbitMQ: not found; installing Debian's package {PACKAGE} (apt-get install, its service is not started)")
    log_file = data_dir / "apt.log"
    async with acquire_install_lock(POLICY_SCRIPT.parent):
        if installation.find_rabbitmq():
            return
        with _forbid_service_start():
            # The update may fail: the package lists may be locked by the system's own job, and current enough.
            with contextlib.suppress(UserError):
                await _run_apt_get(("update",), log_file)
            await _run_apt_get(("install", "-y", "--no-install-recommends", PACKAGE), log_file)


async def _run_apt_get(arguments: tuple[str, ...], log_file: Path) -> None:
    command = Command(
        args=("apt-get", "-q", *DPKG_LOCK_OPTIONS, *arguments),
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        log_file=log_file,
    )
    try:
        # Cancelled in the middle, apt-get would leave a partly installed package.
        status = await wait_uncancelled(asyncio.ensure_future(run(command, INSTALL_TIMEOUT_S)))
    except TimeoutError:
        problem = f"apt-get {arguments[0]} did not finish within {INSTALL_TIMEOUT_S:g} s"
        raise UserError(problem, INSTALL_REMEDY) from None
    if status:
        raise UserError(f"apt-get {arguments[0]} ended with status {status}: {command.log_tail()}", INSTALL_REMEDY)


@asynccontextmanager
async def acquire_install_lock(directory: Path, timeout_s: float = INSTALL_TIMEOUT_S) -> AsyncIterator[None]:
    """Hold the lock that lets one process install at a time, because apt refuses a second one.

    ``directory`` is locked; nothing is written to it. Raises UserError if the lock is not free in time.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await _wait_for_lock(descriptor, timeout_s)
        yield
    finally:
        os.close(descriptor)


async def _wait_for_lock(descriptor: int, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not _try_lock(descriptor):  # noqa: ASYNC110 - a kernel lock gives no notice of its release
                await asyncio.sleep(RETRY_INTERVAL_S)
    except TimeoutError:
        raise UserError(
            f"another installation of {PACKAGE} did not finish within {timeout_s:g} s", INSTALL_REMEDY
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _forbid_service_start() -> Iterator[None]:
    """Forbid the start of services in the block, unless the machine has a policy, as most container images do."""
    if POLICY_SCRIPT.exists():
        yield
        return
    POLICY_SCRIPT.write_text(DENY_SERVICE_START)
    POLICY_SCRIPT.chmod(0o755)
    try:
        yield
    finally:
        POLICY_SCRIPT.unlink(missing_ok=True)
