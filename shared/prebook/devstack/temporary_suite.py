"""A suite for one run of the lab, in a home of its own, stopped and removed afterwards."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prebook.devstack import command_line, lab_process
from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.ports import allocate_ports
from prebook.devstack.service_environment import SuiteOptions, count_ports, lab_environment
from prebook.devstack.suite import launch


def allocate_suite_ports() -> tuple[int, ...]:
    """Allocate free ports for the listeners of the services and the control API."""
    return allocate_ports(count_ports())


def run_lab(description: str, arguments: Sequence[str], options: SuiteOptions, *, with_database: bool = False) -> int:
    """Run ``python -m prebook.lab ARGUMENTS`` against a suite of its own and return the exit status.

    ``description`` is printed as progress; ``with_database`` lets the run read the suite's tables. The run gets the
    settings of the services (``options.settings``) too. The suite's home is removed, unless the run failed: then its
    logs stay.
    """
    home = Path(tempfile.mkdtemp(prefix="prebook-suite-"))
    try:
        status = command_line.run_interruptible(_run_lab(home, description, arguments, options, with_database))
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
    home: Path, description: str, arguments: Sequence[str], options: SuiteOptions, with_database: bool
) -> int:
    async with launch(home, options, log_to_stderr) as suite:
        log_to_stderr(f"{description} on {suite.state.broker} and {suite.state.database}")
        environment = {**lab_environment(suite.state, with_database=with_database), **options.settings}
        running = asyncio.create_task(lab_process.run_lab_process(arguments, environment))
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
