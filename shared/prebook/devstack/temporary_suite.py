"""A suite for one run of the lab, in a home of its own, stopped and removed afterwards."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack import command_line, lab_process
from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.service_environment import SuiteOptions, count_ports, lab_environment
from prebook.devstack.suite import launch
from prebook.devstack.suite_state import SuiteState


def allocate_suite_ports() -> tuple[int, ...]:
    """Allocate free ports for the listeners of the services and the control API."""
    return allocate_ports(count_ports())


Page = Callable[[Path, SuiteOptions, SuiteState], AbstractAsyncContextManager[str]]
"""Serves a page about the suite in a home, and yields its URL."""


@dataclass(frozen=True)
class LabRun:
    """A run of ``python -m prebook.lab ARGUMENTS``."""

    description: str
    """Printed as progress."""
    arguments: Sequence[str]
    with_database: bool = False
    """Whether the run may read the suite's tables."""


def run_lab(run: LabRun, options: SuiteOptions, page: Page | None = None) -> int:
    """Run the lab against a suite of its own and return the exit status; ``page`` is served meanwhile.

    The run gets the settings of the services (``options.settings``) too. The suite's home is removed, unless the run
    failed: then its logs stay.
    """
    home = Path(tempfile.mkdtemp(prefix="prebook-suite-"))
    try:
        status = command_line.run_interruptible(_run_lab(home, run, options, page))
    except command_line.Interrupted:
        shutil.rmtree(home, ignore_errors=True)
        raise
    except UserError as error:
        raise UserError(error.problem, f"{error.remedy}; logs: {home / 'logs'}") from error
    if status:
        log_to_stderr(f"the logs of the services are in {home / 'logs'}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return status


async def _run_lab(home: Path, run: LabRun, options: SuiteOptions, page: Page | None) -> int:
    async with AsyncExitStack() as stack:
        suite = await stack.enter_async_context(launch(home, options, log_to_stderr))
        if page:
            url = await stack.enter_async_context(page(home, options, suite.state))
            log_to_stderr(f"control room, while this runs: {url}")
        log_to_stderr(f"{run.description} on {suite.state.broker} and {suite.state.database}")
        environment = {**lab_environment(suite.state, with_database=run.with_database), **options.settings}
        running = asyncio.create_task(lab_process.run_lab_process(run.arguments, environment))
        broken = asyncio.create_task(suite.wait_until_broken())
        try:
            await asyncio.wait((running, broken), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            raise broken.result()
        finally:
            broken.cancel()
            running.cancel()
            await asyncio.wait((running, broken))
