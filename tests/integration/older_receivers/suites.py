"""Suites whose matching knows only the first versions of messages, until it is upgraded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import run_suite
from tests.integration.control_client import ControlClient
from tests.integration.older_receivers.sitecustomize import OLDER_SERVICES
from tests.integration.suite import Suite

HERE = Path(__file__).parent
FILE = "older-services"


@contextmanager
def suite_with_older_matching(home: Path, message_versions: str) -> Iterator[Suite]:
    """Run a suite in ``home`` whose services write ``message_versions``; the newest versions if it is empty."""
    (home.parent / FILE).write_text("matching")
    settings = {
        "PYTHONPATH": str(HERE),
        OLDER_SERVICES: str(home.parent / FILE),
        "PREBOOK_MESSAGE_VERSIONS": message_versions,
    }
    with run_suite(home, settings) as suite:
        yield suite


async def upgrade_matching(suite: Suite, control: ControlClient) -> None:
    """Let matching know all versions, and return once it runs again."""
    (suite.home.parent / FILE).write_text("")
    await control.kill("matching")
    await control.wait_until_all_running()
