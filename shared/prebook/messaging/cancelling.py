"""Cancellation of loops that outlive every failure."""

import asyncio


def end_if_cancelled() -> None:
    """Raise ``CancelledError`` where this task was cancelled and a client under it has kept that to itself.

    ``asyncio.wait_for`` of Python 3.11, which our clients wait with, raises what its work ended with when that comes
    in the same turn as a cancellation, and the cancellation is gone (python/cpython#86296). A loop that goes on after
    any error has to ask, or it goes on for ever.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError
