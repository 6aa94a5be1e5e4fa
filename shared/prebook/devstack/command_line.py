"""Ctrl-C, SIGTERM and a closed terminal: all end the work in order, and only the first of them counts."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import rich_click as click
import structlog

from prebook.devstack.errors import UserError

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_INTERRUPTED = 130


class Interrupted(Exception):
    """The work was ended by a signal, and everything it started has been stopped."""


def run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run. Raises Interrupted."""
    try:
        return asyncio.run(_cancel_on_signal(work))
    except asyncio.CancelledError:
        raise Interrupted from None


async def _cancel_on_signal(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    heard: list[signal.Signals] = []

    def hear(number: signal.Signals) -> None:
        if not heard:
            task.cancel()
            click.echo("stopping; this takes a few seconds", err=True)
        heard.append(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, hear, number)
    return await task


def log_to_stderr(line: str) -> None:
    click.echo(line, err=True)


def log_warnings_only() -> None:
    """What a service would log, where a command does a service's work: to stderr, and no more than warnings."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def examples(*lines: str) -> str:
    """The end of a command's help. A blank line between the lines keeps them apart there."""
    return "\n\n".join(("Examples:", *lines))


class UserErrorGroup(click.RichGroup):
    """A group whose commands raise Trouble: said with its remedy, exit status 1. A signal: 130, nothing to say."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except UserError as trouble:
            log_to_stderr(f"error: {trouble.problem}\nhint:  {trouble.remedy}")
            ctx.exit(1)
        except Interrupted:
            ctx.exit(EXIT_INTERRUPTED)
