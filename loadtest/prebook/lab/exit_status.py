"""What a program of ours leaves with, and what it shows until then."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import rich_click as click

from prebook.lab.report.writer import ReportFolderUnusable
from prebook.lab.suite_client.services import SuiteUnreachable
from prebook.lab.suite_client.settings import InvalidEnvironment

EXIT_INTERRUPTED = 130
EXPECTED_ERRORS: tuple[type[Exception], ...] = (InvalidEnvironment, ReportFolderUnusable, SuiteUnreachable)
"""Each says what to do about it."""


def exit_status_of(run: Callable[[], int], interrupt_message: str, *more: type[Exception]) -> int:
    """Of ``run``: its own, or 1 after an error that is FORESEEN or one of ``more``, or that of Ctrl-C, of which
    ``interrupted`` says what it cost.
    """
    try:
        return run()
    except (*EXPECTED_ERRORS, *more) as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {interrupt_message}.", err=True)
        return EXIT_INTERRUPTED


@asynccontextmanager
async def run_in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """It goes on while the body runs, and ends with it."""
    teller = asyncio.create_task(work)
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)
