"""TCP ports on the loopback interface."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from prebook.devstack.errors import UserError

LOOPBACK = "127.0.0.1"
DEFAULT_PAGE_PORT = 9001
"""Port at which the console of a container deployment serves the control room."""
MIN_PORT = 20_000
MAX_PORT = 32_000
"""Below the range of outgoing connections, which could otherwise take an allocated port before its server does."""
MAX_TRIES = 2_000
ALLOCATED: set[int] = set()
"""Ports that this process has allocated; their servers may not listen yet."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a TCP port can be bound on ``host``."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def allocate_ports(count: int) -> tuple[int, ...]:
    """Allocate distinct free ports. Raises UserError if there are too few.

    A port is never allocated twice by this process, nor by any other live process of the same user, so that suites can
    start concurrently.
    """
    drawn = random.SystemRandom().sample(range(MIN_PORT, MAX_PORT), MAX_TRIES)
    untouched = (port for port in drawn if port not in ALLOCATED and is_free(port) and _try_lock(port))
    found = [port for _, port in zip(range(count), untouched, strict=False)]
    if len(found) < count:
        raise UserError(
            f"no {count} free TCP ports between {MIN_PORT} and {MAX_PORT} on {LOOPBACK}",
            "end some of the programs that listen there (`ss -ltnp` lists them)",
        )
    ALLOCATED.update(found)
    return tuple(found)


def claim_ports(ports: Sequence[int], remedy: str) -> tuple[int, ...]:
    """Reserve the given ports and return them. Raises UserError that names every port in use."""
    taken = [str(port) for port in ports if not is_free(port)]
    if taken:
        raise UserError(f"port {', '.join(taken)} on {LOOPBACK} is taken by another program", remedy)
    ALLOCATED.update(ports)
    for port in ports:
        _try_lock(port)  # fails if the parent process allocated the port and holds the lock
    return tuple(ports)


def _try_lock(port: int) -> bool:
    """Lock byte ``port`` of the lock file until this process exits. Return False if another process holds the lock."""
    try:
        fcntl.lockf(_open_lock_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _open_lock_file() -> int:
    path = Path(tempfile.gettempdir()) / f"prebook-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
