"""A suite for one program: started in a home of its own, and gone again with the program."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prebook.devstack import command_line, lab_process
from prebook.devstack.command_line import say
from prebook.devstack.errors import Trouble
from prebook.devstack.ports import free_ports
from prebook.devstack.service_environment import Terms
from prebook.devstack.suite import launched
from prebook.devstack.suite_state import Whereabouts
from prebook.flows import PROCESSES

Told = Callable[[Whereabouts], Mapping[str, str]]
"""What the program is told of the suite, through its environment."""


def ports() -> tuple[int, ...]:
    """Of the services and the control API; what has them now, nobody else has."""
    return free_ports(len(PROCESSES) + 1)


def played(what: str, arguments: Sequence[str], terms: Terms, told: Told) -> int:
    """The exit status of ``python -m loadtest ARGUMENTS`` against a suite of its own. ``what`` is said of it.

    The home goes with the suite, unless the program failed: then the logs are worth reading.
    """
    home = Path(tempfile.mkdtemp(prefix="prebook-demo-"))
    try:
        status = command_line.run(_played(home, what, arguments, terms, told))
    except command_line.Interrupted:
        shutil.rmtree(home, ignore_errors=True)
        raise
    except Trouble as trouble:
        raise Trouble(trouble.problem, f"{trouble.remedy}; logs: {home / 'logs'}") from trouble
    if status:
        say(f"the logs of the services are in {home / 'logs'}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return status


async def _played(home: Path, what: str, arguments: Sequence[str], terms: Terms, told: Told) -> int:
    async with launched(home, terms, say) as suite:
        say(f"{what} on {suite.whereabouts.broker} and {suite.whereabouts.database}")
        running = asyncio.create_task(lab_process.run(arguments, told(suite.whereabouts)))
        broken = asyncio.create_task(suite.broken())
        try:
            await asyncio.wait((running, broken), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            raise broken.result()
        finally:
            broken.cancel()
            running.cancel()
            await asyncio.wait((running, broken))
