"""The control room of a suite that this process has launched on this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prebook.control_room.app import PageAddress
from prebook.control_room.dead_letters import OperatorAccess
from prebook.control_room.runner import SuiteAccess, open_control_room
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.service_environment import SuiteOptions
from prebook.devstack.suite_state import SuiteState, read_suite_state
from prebook.devstack.supervisor.control_api import token_digest
from prebook.flows import CONSOLE, OPERATIONS


@asynccontextmanager
async def open_local_control_room(home: Path, options: SuiteOptions, state: SuiteState) -> AsyncIterator[str]:
    """Serve the control room while the block runs; yield the URL that opens its first session.

    ``home``: folder of the suite. Raises UserError if the port is taken.
    """
    page = PageAddress(options.page_url, options.page_port)
    access = _access(home, options, state)
    async with open_control_room(page, access, LOOPBACK, options.page_port) as sessions:
        yield page.with_token(sessions.issue_token())


def _access(home: Path, options: SuiteOptions, state: SuiteState) -> SuiteAccess:
    """Return how the control room reaches the suite. Secrets are read again for each use, as they are rotated."""
    return SuiteAccess(
        process_urls=options.process_urls,
        booking_url=state.urls["booking"],
        operations=OperatorAccess(state.urls[OPERATIONS], lambda: read_suite_state(home).operator_token),
        console_secrets=lambda: read_suite_state(home).signing_secrets[CONSOLE],
        management_url=state.management_url,
        management_user=state.management_user,
        management_password=state.management_password,
        control_token_sha256=token_digest(options.control_token),
        environment={"PREBOOK_HOME": str(home)},
    )
