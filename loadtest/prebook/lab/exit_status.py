"""Exit statuses of the lab's commands."""

from collections.abc import Callable

from prebook.devstack.command_line import EXIT_INTERRUPTED, Interrupted, log_to_stderr


def exit_status_of(run: Callable[[], int], interrupt_message: str) -> int:
    """Return the status that ``run`` returns, or EXIT_INTERRUPTED after a signal.

    ``interrupt_message`` names what an interruption loses; it is printed to stderr after a signal.
    """
    try:
        return run()
    except (Interrupted, KeyboardInterrupt):
        log_to_stderr(f"interrupted: {interrupt_message}")
        return EXIT_INTERRUPTED
