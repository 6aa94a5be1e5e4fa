"""Who runs what where tests run side by side."""

import pytest

from tests.workers import EACH, SUITE, group, port_base


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/integration/test_faults.py::test_a[x::y]", SUITE),
        ("tests/traps/test_http.py::test_a", SUITE),
        ("tests/integration/test_chaos.py::test_a", "tests/integration/test_chaos.py"),
        ("tests/devstack/test_faults.py::test_a[broker]", "tests/devstack/test_faults.py"),
    ],
)
def test_tests_of_the_one_suite_are_one_group_and_else_those_of_a_file(nodeid: str, expected: str) -> None:
    assert group(nodeid) == expected


def test_no_two_workers_are_given_the_same_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    bases = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        bases.append(port_base(20))
    assert bases[0] // EACH + 1 == bases[1] // EACH
