"""Progress and errors: on stderr, so that stdout carries results only."""

import rich_click as click

from prebook.cli.interruption import INTERRUPTED, Interrupted
from prebook.runtime.stack.trouble import Trouble


def say(line: str) -> None:
    click.echo(line, err=True)


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
