"""Exit statuses of the lab's commands."""

from collections.abc import Callable

import rich_click as click

from prebook.lab.errors import LabError

EXIT_INTERRUPTED = 130


def exit_status_of(run: Callable[[], int], interrupt_message: str) -> int:
    """Return the status of ``run``, 1 after a LabError, or 130 after Ctrl-C.

    ``interrupt_message`` says what an interruption costs.
    """
    try:
        return run()
    except LabError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {interrupt_message}.", err=True)
        return EXIT_INTERRUPTED
