"""Progress and errors: on stderr, so that stdout carries results only."""

import logging
import sys

import rich_click as click
import structlog

from prebook.cli.interruption import INTERRUPTED, Interrupted
from prebook.runtime.stack.trouble import Trouble


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
