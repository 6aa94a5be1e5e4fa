"""Tests may run in several processes side by side (`pytest -n 2`): each has ports of its own."""

import os

from prebook.runtime.stack.ports import is_free

LOWEST, EACH = 12_000, 2_000
"""Below the ports that suites draw for themselves, so that none is drawn between our look and its use."""


def port_base(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    lowest = LOWEST + number * EACH
    start = os.getpid() % 100 * count
    bases = (lowest + (start + step * count) % (EACH - count) for step in range(EACH // count))
    found = next((base for base in bases if all(map(is_free, range(base, base + count)))), None)
    assert found, f"no {count} free ports in a row between {lowest} and {lowest + EACH}"
    return found
