"""Wake the relays of a service when rows are committed: in this process at once, in others when it cannot keep up.

What a process commits its own relay takes up. Others are called by NOTIFY when there is more than that one takes, on a
connection of its own: a NOTIFY in every commit would serialise the commits of the whole database, and have all relays
claim the same rows. It is a hint: the relay polls anyway.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

COALESCE_S = 0.05


def channel_of(service: str) -> str:
    return f"prebook_outbox_{service}"


class Wakeup:
    """``wake`` in the process that commits; ``run`` keeps the LISTEN connection."""

    def __init__(
        self,
        service: str,
        database_url: str,
        owner: str,
        woken: Callable[[], None],
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """``owner`` names the session, by which others see that we live. ``behind``: whether we need help."""
        self._owner = owner
        self._channel = channel_of(service)
        self._dsn = database_url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._woken, self._behind = woken, behind
        self._committed, self._own_pid = asyncio.Event(), 0

    def wake(self) -> None:
        self._woken()
        self._committed.set()

    async def run(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=5, server_settings={"application_name": self._owner})
        try:
            self._own_pid = connection.get_server_pid()
            await connection.add_listener(self._channel, self._heard)
            self._woken()
            while not connection.is_closed():
                await self._committed.wait()
                await asyncio.sleep(COALESCE_S)
                self._committed.clear()
                if self._behind():
                    await connection.execute(f"NOTIFY {self._channel}")
        finally:
            await connection.close(timeout=1)

    def _heard(self, _connection: Any, pid: int, *_channel_and_payload: Any) -> None:
        """Our own commits have woken us already."""
        if pid != self._own_pid:
            self._woken()
