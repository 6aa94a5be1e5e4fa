"""What all tests share: one suite with real parts, one database server, and the order in which they run.

In several processes (`pytest -n 2`) one of them has the suite, and all tests of it.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import pytest

from tests.databases import Databases, served
from tests.integration import containers
from tests.integration.suite import Suite, started
from tests.workers import SUITE, group, scheduler

# A shell that starts us in the background has us ignore it, and so would every program that is to be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)
Figure = Callable[[str], None]
"""Tells whoever runs the tests what was measured, once all are through."""


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """PREBOOK_TEST_STACK=containers runs PostgreSQL and RabbitMQ by testcontainers; else `prebook up` finds its own.

    Back pressure is off: deadlines are short here, so that it would refuse what is to be seen surviving a fault. It is
    tried on a suite of its own.
    """
    home = tmp_path_factory.mktemp("suite") / "home"
    with _stack() as stack, started({**stack, "PREBOOK_BACK_PRESSURE": "off"}, home) as suite:
        yield suite


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with served() as databases:
        yield databases


def _stack() -> AbstractContextManager[Mapping[str, str]]:
    wanted = os.environ.get("PREBOOK_TEST_STACK", "")
    return containers.started() if wanted == "containers" else nullcontext({})


ROUNDS = ("test_faults.py", "test_fault_catalogue.py", "test_logs.py")
"""After all others, in this order: what breaks the suite, and what looks at all that it has written."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In one process, what needs no parts first. In several, what takes longest, so that all are done at once."""
    for item in items:
        if "databases" in getattr(item, "fixturenames", ()):
            item.add_marker("database")
    several = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=_round_of_several if several else _round)
    if strays := {item.path.name for item in items if _of_the_suite(item) and group(item.nodeid) != SUITE}:
        raise pytest.UsageError(f"{strays} use the one suite: put them into a folder of tests/workers.py: SHARING")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return scheduler(config, log)


def _round(item: pytest.Item) -> tuple[bool, int]:
    name = item.path.name
    return bool(item.get_closest_marker("real")), ROUNDS.index(name) + 1 if name in ROUNDS else 0


def _round_of_several(item: pytest.Item) -> tuple[bool, bool, int]:
    real, late = _round(item)
    return group(item.nodeid) != SUITE, not real, late


def _of_the_suite(item: pytest.Item) -> bool:
    """Of the one above, that is; a module may have one of its own."""
    module = getattr(item, "module", None)
    return "suite" in getattr(item, "fixturenames", ()) and not hasattr(module, "suite")


FIGURE = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for outcome in ("passed", "failed", "skipped") for each in terminalreporter.getreports(outcome)]
    told = [text for report in reports for name, text in report.user_properties if name == FIGURE]
    if told:
        terminalreporter.section("figures")
        for text in dict.fromkeys(map(str, told)):
            terminalreporter.write_line(text)
