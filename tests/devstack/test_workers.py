"""Distribution of tests and ports to parallel processes."""

import pytest

from tests.workers import FAULTS, PORTS_PER_PROCESS, SUITE, group, port_base


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/integration/test_commands.py::test_a[x::y]", SUITE),
        ("tests/integration/test_faults.py::test_a", FAULTS),
        ("tests/traps/test_broker_client.py::test_a", SUITE),
        ("tests/traps/test_http.py::test_a", "tests/traps/test_http.py"),
        ("tests/integration/test_chaos.py::test_a", "tests/integration/test_chaos.py"),
        ("tests/devstack/test_faults.py::test_a[broker]", "tests/devstack/test_faults.py"),
    ],
)
def test_tests_of_a_shared_suite_are_one_group_and_others_are_grouped_by_file(nodeid: str, expected: str) -> None:
    assert group(nodeid) == expected


def test_two_workers_get_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    bases = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        bases.append(port_base(20))
    assert bases[0] // PORTS_PER_PROCESS + 1 == bases[1] // PORTS_PER_PROCESS
