"""`prebook bench`: the suite's parts beside yardsticks."""

import os
import signal
import sys

import rich_click as click

from prebook.cli import interruption, program
from prebook.runtime.stack.child import Command, spawn

STOP_WITHIN_S = 20.0


@click.command(context_settings=program.PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure relay, channels and inlets beside the least that does their work.

    It starts a broker and a database of its own. A benchmark: run it on a machine that does nothing else.
    """
    sys.exit(interruption.run(_run(arguments)))


async def _run(arguments: tuple[str, ...]) -> int:
    """A program of its own, as the campaign is: commands stand below services, and the bench above them."""
    args = (sys.executable, "-m", "loadtest.bench", *arguments)
    child = await spawn(Command(args=args, env=dict(os.environ), farewell=signal.SIGINT))
    try:
        return await child.wait()
    finally:
        await child.stop(STOP_WITHIN_S)
