"""Ctrl-C, SIGTERM and a closed terminal: all end the work in order, and only the first of them counts."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import rich_click as click

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
