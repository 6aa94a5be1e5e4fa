"""Tell the relays of a service what is committed: that of this process at once, others when it cannot keep up.

What a process commits its own relay takes. Others are called by NOTIFY when there is more than that one takes, on a
connection of its own: a NOTIFY in every commit would serialise the commits of the whole database, and have all relays
claim the same rows. It is a hint: the relay polls anyway.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.unit_of_work import OutboxMessage

COALESCE_INTERVAL_S, LIVENESS_CHECK_INTERVAL_S, LIVENESS_TIMEOUT_S = 0.05, 5.0, 5.0


def notify_channel(service: str) -> str:
    return f"prebook_outbox_{service}"


class RelayNotifier:
    """``taking`` around what a process commits; ``run`` keeps the LISTEN connection."""

    def __init__(self, service: str, database_url: str, owner: str, relay: Relay) -> None:
        """``owner`` names the session, by which others see that we live."""
        self._owner, self._relay = owner, relay
        self._channel = notify_channel(service)
        self._dsn = database_url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._rows_left, self._own_pid = asyncio.Event(), 0

    @contextmanager
    def hand_off(self, messages: Sequence[OutboxMessage]) -> Iterator[Handoff]:
        """As the relay does it; what it does not take, others may be called for."""
        with self._relay.hand_off(messages) as handover:
            yield handover
        if handover.has_unclaimed:
            self._rows_left.set()

    async def run(self) -> None:
        """Ends or raises once the session is gone, said or unsaid: the others would take our rows for a dead one's."""
        named = {"application_name": self._owner}
        connection = await asyncpg.connect(
            self._dsn, timeout=5, command_timeout=LIVENESS_TIMEOUT_S, server_settings=named
        )
        try:
            self._own_pid = connection.get_server_pid()
            await connection.add_listener(self._channel, self._on_notification)
            connection.add_termination_listener(lambda _: self._rows_left.set())
            self._relay.wake()
            while not connection.is_closed():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LIVENESS_CHECK_INTERVAL_S):
                        await self._rows_left.wait()
                    await asyncio.sleep(COALESCE_INTERVAL_S)
                self._rows_left.clear()
                said = f"NOTIFY {self._channel}" if self._relay.is_behind else "SELECT 1"
                await connection.execute(said)
        finally:
            await connection.close(timeout=1)

    def _on_notification(self, _connection: Any, pid: int, *_channel_and_payload: Any) -> None:
        """What is left of our own commits has woken us already."""
        if pid != self._own_pid:
            self._relay.wake()
