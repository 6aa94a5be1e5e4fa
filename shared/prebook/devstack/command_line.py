"""Ctrl-C, SIGTERM and a closed terminal: all end the work in order, and only the first of them counts."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import rich_click as click
import structlog

from prebook.devstack.errors import Trouble

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


class Interrupted(Exception):
    """The work was ended by a signal, and everything it started has been stopped."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run. Raises Interrupted."""
    try:
        return asyncio.run(_with_signals(work))
    except asyncio.CancelledError:
        raise Interrupted from None


async def _with_signals(work: Coroutine[Any, Any, T]) -> T:
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


def say(line: str) -> None:
    click.echo(line, err=True)


def warnings_only() -> None:
    """What a service would log, where a command does a service's work: to stderr, and no more than warnings."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def examples(*lines: str) -> str:
    """The end of a command's help. A blank line between the lines keeps them apart there."""
    return "\n\n".join(("Examples:", *lines))


class Told(click.RichGroup):
    """A group whose commands raise Trouble: said with its remedy, exit status 1. A signal: 130, nothing to say."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Trouble as trouble:
            say(f"error: {trouble.problem}\nhint:  {trouble.remedy}")
            ctx.exit(1)
        except Interrupted:
            ctx.exit(INTERRUPTED)
