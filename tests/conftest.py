"""Shared fixtures (one running suite, one database server) and the order of the tests.

With several processes (`pytest -n 2`), one of them runs a suite for tests that inject faults, another one for the rest.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import structlog

from tests.databases import Databases, run_server
from tests.integration import containers, logs
from tests.integration.suite import Suite, start_suite
from tests.workers import SUITES, group, scheduler

# A shell that starts pytest in the background makes it ignore SIGINT, and its child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
Figure = Callable[[str], None]
"""Reports a measured figure at the end of the test run."""


@pytest.fixture(autouse=True)
def reset_logging() -> Iterator[None]:
    """Undo what a command or service that ran in this process has configured: its level would hide later lines."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The suite shared by all tests without their own suite."""
    with run_suite(tmp_path_factory.mktemp("suite") / "home") as suite:
        yield suite


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with run_server() as databases:
        yield databases


@contextmanager
def run_suite(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Suite]:
    """Run a suite in ``home``, with additional ``settings``. At its end, its logs are checked.

    PREBOOK_TEST_STACK=containers runs PostgreSQL and RabbitMQ by testcontainers; otherwise `prebook up` starts them.
    Back pressure is off, because with the short deadlines of tests it would refuse rides that must survive a fault.
    """
    with _stack() as stack, start_suite({**stack, "PREBOOK_BACK_PRESSURE": "off", **(settings or {})}, home) as suite:
        yield suite
        logs.verify(suite)


def _stack() -> AbstractContextManager[Mapping[str, str]]:
    mode = os.environ.get("PREBOOK_TEST_STACK", "")
    return containers.start_containers() if mode == "containers" else nullcontext({})


LAST_FILES = ("test_faults.py", "test_database_outages.py", "test_fault_catalogue.py", "test_logs.py")
"""Files that run last, in this order: those that inject faults, and the one that reads all logs of the suite."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests: in one process, those without real servers first; in several processes, the longest first."""
    for item in items:
        if "databases" in getattr(item, "fixturenames", ()):
            item.add_marker("database")
    is_parallel = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=_parallel_sort_key if is_parallel else _sort_key)
    if strays := {item.path.name for item in items if _uses_shared_suite(item) and group(item.nodeid) not in SUITES}:
        raise pytest.UsageError(
            f"{strays} use a shared suite; mark them real, in a folder in SHARED_SUITE_FOLDERS of tests/workers.py"
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return scheduler(config, log)


def _sort_key(item: pytest.Item) -> tuple[bool, int]:
    name = item.path.name
    return bool(item.get_closest_marker("real")), LAST_FILES.index(name) + 1 if name in LAST_FILES else 0


def _parallel_sort_key(item: pytest.Item) -> tuple[bool, bool, int]:
    is_real, position = _sort_key(item)
    return group(item.nodeid) not in SUITES, not is_real, position


def _uses_shared_suite(item: pytest.Item) -> bool:
    """Return whether a test uses the shared suite; a module may define its own suite."""
    module = getattr(item, "module", None)
    return "suite" in getattr(item, "fixturenames", ()) and not hasattr(module, "suite")


FIGURE = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = ("passed", "failed", "skipped")
    reports = [report for outcome in outcomes for report in terminalreporter.getreports(outcome)]
    figures = [text for report in reports for name, text in report.user_properties if name == FIGURE]
    if figures:
        terminalreporter.section("figures")
        for text in dict.fromkeys(map(str, figures)):
            terminalreporter.write_line(text)
