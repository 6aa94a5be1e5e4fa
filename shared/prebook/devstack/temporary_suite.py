"""A suite for one run of the lab, in a home of its own, stopped and removed afterwards."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prebook.devstack import command_line, lab_process
from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.service_environment import SuiteOptions
from prebook.devstack.suite import launch
from prebook.devstack.suite_state import SuiteState
from prebook.flows import PROCESSES

EnvironmentFactory = Callable[[SuiteState], Mapping[str, str]]
"""Makes the environment variables by which the lab reaches the suite."""


def allocate_suite_ports() -> tuple[int, ...]:
    """Free ports for the services and the control API, allocated to this process."""
    return allocate_ports(len(PROCESSES) + 1)


def run_lab(
    description: str, arguments: Sequence[str], options: SuiteOptions, make_environment: EnvironmentFactory
) -> int:
    """Run ``python -m prebook.lab ARGUMENTS`` against a suite of its own and return the exit status.

    ``description`` is printed as progress. The suite's home is removed, unless the run failed: then its logs stay.
    """
    home = Path(tempfile.mkdtemp(prefix="prebook-suite-"))
    try:
        status = command_line.run_interruptible(_run_lab(home, description, arguments, options, make_environment))
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


async def _run_lab(
    home: Path, description: str, arguments: Sequence[str], options: SuiteOptions, make_environment: EnvironmentFactory
) -> int:
    async with launch(home, options, log_to_stderr) as suite:
        log_to_stderr(f"{description} on {suite.state.broker} and {suite.state.database}")
        running = asyncio.create_task(lab_process.run_lab_process(arguments, make_environment(suite.state)))
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
