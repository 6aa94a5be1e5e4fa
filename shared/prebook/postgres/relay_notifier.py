"""Wake the relays of a service after a commit: the relay of this process at once, others when it cannot keep up.

The relay of a process takes the rows that the process commits. If there are more rows than it takes, the others are
woken by NOTIFY on a separate connection: a NOTIFY in every commit would serialise the commits of the whole database and
make all relays claim the same rows. NOTIFY is a hint: relays poll anyway.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn

COALESCE_INTERVAL_S = 0.05
WAKE_INTERVAL_S = 0.05
"""Minimum seconds between two wake-ups by notifications. Any role of the database may send any number of them."""
LIVENESS_CHECK_INTERVAL_S = 5.0
LIVENESS_TIMEOUT_S = 5.0
IS_READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"


def notify_channel(service: str) -> str:
    """Name of the LISTEN/NOTIFY channel of a service's relays."""
    return f"prebook_outbox_{service}"


class RelayNotifier:
    """Wakes relays of other processes.

    ``hand_off`` wraps each commit of the process; ``run`` keeps the LISTEN connection.
    """

    def __init__(self, service: str, database_url: str, owner: str, relay: Relay) -> None:
        """``owner`` names the database session, by which other relays see that this one is alive."""
        self._owner = owner
        self._relay = relay
        self._channel = notify_channel(service)
        self._dsn = asyncpg_dsn(database_url)
        self._rows_left = asyncio.Event()
        self._own_pid = 0
        self._next_wake_at = 0.0
        self._wake_timer: asyncio.TimerHandle | None = None

    @contextmanager
    def hand_off(self, messages: Sequence[OutboxMessage]) -> Iterator[Handoff]:
        """Hand the messages to this process's relay; wake the others for rows that it does not take."""
        with self._relay.hand_off(messages) as handoff:
            yield handoff
        if handoff.has_unclaimed:
            self._rows_left.set()

    async def run(self) -> None:
        """Return or raise once the session has ended or no longer replies: other relays would take over its rows."""
        settings = {"application_name": self._owner}
        connection = await asyncpg.connect(
            self._dsn, timeout=5, command_timeout=LIVENESS_TIMEOUT_S, server_settings=settings
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
                if self._relay.is_behind:
                    await connection.execute(f"NOTIFY {self._channel}")
                elif await connection.fetchval(IS_READ_ONLY):  # a demoted server: the next session is on the new one
                    return
        finally:
            if self._wake_timer is not None:
                self._wake_timer.cancel()
                self._wake_timer = None
            await connection.close(timeout=1)

    def _on_notification(self, _connection: Any, pid: int, *_channel_and_payload: Any) -> None:
        """Wake the relay, at once or with the next wake-up; not for this process, whose relay is awake already."""
        if pid != self._own_pid and self._wake_timer is None:
            loop = asyncio.get_running_loop()
            self._wake_timer = loop.call_at(self._next_wake_at, self._wake_relay)

    def _wake_relay(self) -> None:
        self._wake_timer = None
        self._next_wake_at = asyncio.get_running_loop().time() + WAKE_INTERVAL_S
        self._relay.wake()
