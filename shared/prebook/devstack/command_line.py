"""Handling of signals, stderr and exit status, common to all programs of the suite."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import rich_click as click
import structlog

from prebook.devstack.errors import UserError
from prebook.devstack.terminal import LINE_CHARACTERS, echo, escape_controls

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_INTERRUPTED = 130
"""Exit status after a signal: 128 + SIGINT, as shells report it."""


class Interrupted(Exception):
    """A signal ended the work, and everything the work had started is stopped."""


def run_interruptible(work: Coroutine[Any, Any, T], loop_factory: LoopFactory | None = None) -> T:
    """Run ``work`` as asyncio.run does; the first SIGINT, SIGTERM or SIGHUP cancels it.

    A closing terminal sends SIGHUP. A program under nohup is started with SIGHUP ignored, and goes on ignoring it.

    ``loop_factory`` makes the event loop, such as uvloop's. Raises Interrupted.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(_cancel_on_signal(work))
    except asyncio.CancelledError:
        raise Interrupted from None


async def _cancel_on_signal(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def handle(number: signal.Signals) -> None:
        if not received:
            task.cancel()
            log_to_stderr("stopping; this takes a few seconds")
        received.append(number)

    for number in SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        loop.add_signal_handler(number, handle, number)
    return await task


def log_to_stderr(line: str) -> None:
    """Print one line to stderr, unless that is a terminal which was closed: what is running must still be stopped."""
    with suppress(OSError):
        echo(line, err=True)


def log_warnings_only() -> None:
    """Send structlog's warnings and errors to stderr and drop the rest: for commands that run service code."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
            _escape_line,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _escape_line(_: Any, __: str, line: Any) -> str:
    return escape_controls(line, LINE_CHARACTERS)


def examples(*lines: str) -> str:
    """Return the epilog of a command's help. The blank lines keep click from joining the examples."""
    return "\n\n".join(("Examples:", *lines))


class UserErrorGroup(click.RichGroup):
    """A group whose commands may raise UserError (printed with its remedy, exit status 1) and Interrupted (130).

    An OSError, such as that of a full disk behind stdout, is shown as a UserError.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program. A closed pipe has been handled by click already."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            problem = f"the operating system reports: {error}"
            print_user_error(UserError(problem, "correct that, and run the command again"))
            sys.exit(1)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments. Raises UsageError for one that is not UTF-8, which nothing beyond could encode."""
        for argument in () if parent else args:
            if not is_encodable(argument):
                raise click.UsageError(f"the argument {argument!r} is not UTF-8 text")
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; its UserError and Interrupted become a message on stderr and an exit status."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            print_user_error(error)
            ctx.exit(1)
        except Interrupted:
            ctx.exit(EXIT_INTERRUPTED)


def is_encodable(text: str) -> bool:
    """Return whether a text is one: bytes of an argument that are not UTF-8 arrive as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def print_user_error(error: UserError) -> None:
    """Print problem and remedy of an error to stderr."""
    log_to_stderr(f"error: {error.problem}\nhint:  {error.remedy}")
