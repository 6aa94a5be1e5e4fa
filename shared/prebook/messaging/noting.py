"""What became of a row has to be noted, though the database may be away for a moment."""

import asyncio
from collections.abc import Awaitable, Callable

AGAIN_S = (0.1, 0.5, 1.0, 2.0, 4.0)


async def noted(note: Callable[[], Awaitable[None]]) -> None:
    """Tried again for a while, well within the lease: while the database cuts connections or starts again, what is not
    noted would wait for the end of the lease, and be sent a second time. Raises what the last try raised.
    """
    for pause_s in AGAIN_S:
        try:
            await note()
        except Exception:  # noqa: BLE001 - whatever it was, the last failure is the caller's
            await asyncio.sleep(pause_s)
        else:
            return
    await note()
