"""A suite for one program: started in a home of its own, and gone again with the program."""

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
"""What the program is told of the suite, through its environment."""


def allocate_suite_ports() -> tuple[int, ...]:
    """Of the services and the control API; what has them now, nobody else has."""
    return allocate_ports(len(PROCESSES) + 1)


def run_lab(
    description: str, arguments: Sequence[str], options: SuiteOptions, make_environment: EnvironmentFactory
) -> int:
    """The exit status of ``python -m prebook.lab ARGUMENTS`` against a suite of its own. ``what`` is said of it.

    The home goes with the suite, unless the program failed: then the logs are worth reading.
    """
    home = Path(tempfile.mkdtemp(prefix="prebook-suite-"))
    try:
        status = command_line.run_interruptible(_run_lab(home, description, arguments, options, make_environment))
    except command_line.Interrupted:
        shutil.rmtree(home, ignore_errors=True)
        raise
    except UserError as trouble:
        raise UserError(trouble.problem, f"{trouble.remedy}; logs: {home / 'logs'}") from trouble
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
