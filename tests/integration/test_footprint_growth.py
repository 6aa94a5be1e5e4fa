"""Growth of a suite and half-closed connections, as the tests of hostile input find them."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conditions import wait_until
from tests.integration.footprint import MAX_GROWTH_MB, MAX_NEW_SERIES, Footprint, count_half_closed

ACCEPTOR = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
accepted, _ = listener.accept()
print("accepted", flush=True)
input()
accepted.close()
print("closed", flush=True)
input()
"""
"""Program that accepts one connection, and closes it when it reads a line."""
BEFORE = Footprint({"prebook.booking": 60.0, "prebook.fleets": 50.0}, Counter({"booking": 900, "fleets": 500}))


def test_less_than_the_limits_is_no_growth() -> None:
    after = Footprint(
        {"prebook.booking": 59.0 + MAX_GROWTH_MB, "prebook.fleets": 40.0},
        Counter({"booking": 899 + MAX_NEW_SERIES, "fleets": 500}),
    )
    after.verify_growth(BEFORE)


@pytest.mark.parametrize(
    ("memory_mb", "series"),
    [
        ({"prebook.booking": 60.0, "prebook.fleets": 50.0 + MAX_GROWTH_MB}, BEFORE.series),
        (BEFORE.memory_mb, BEFORE.series + Counter({"booking": MAX_NEW_SERIES})),
    ],
    ids=["memory", "series"],
)
def test_growth_fails(memory_mb: dict[str, float], series: Counter[str]) -> None:
    with pytest.raises(AssertionError, match="booking"):
        Footprint(memory_mb, series).verify_growth(BEFORE)


@pytest.fixture
def acceptor() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has written its port."""
    with subprocess.Popen([sys.executable, "-c", ACCEPTOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.communicate(b"end\n", timeout=60)


async def test_a_connection_that_only_the_other_side_has_closed_is_counted(acceptor: subprocess.Popen[bytes]) -> None:
    assert acceptor.stdin is not None
    assert acceptor.stdout is not None
    with socket.create_connection(("127.0.0.1", int(acceptor.stdout.readline()))):
        assert acceptor.stdout.readline() == b"accepted\n"
        assert count_half_closed(acceptor.pid) == 0
    await wait_until(lambda: count_half_closed(acceptor.pid) == 1, timeout_s=60)
    acceptor.stdin.write(b"close\n")
    acceptor.stdin.flush()
    assert acceptor.stdout.readline() == b"closed\n"
    assert count_half_closed(acceptor.pid) == 0
