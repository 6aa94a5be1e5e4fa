"""Runner of a replay from the archive: select, check eligibility, send at a rate, count the effects."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.replay.archive_replay import ArchiveReplay
from prebook.replay.archive_report import ArchiveReplayReport, ArchiveReplayState, ReplayEffects
from prebook.replay.ports import ArchiveReader, InboxLookup, PublisherFactory
from prebook.replay.receivers import ArchiveRedelivery

PROGRESS_INTERVAL_S = 1.0
PUBLISH_TIMEOUT_S = 30.0
"""Time during which an unconfirmed message is published again."""
PUBLISH_RETRY_INTERVAL_S = 0.5
MAX_CONCURRENT_LOOKUPS = 16
RECORDING_TIMEOUT_S = 15.0
"""Time that the receivers get to handle the last messages before the effects are counted."""
RECORDING_POLL_INTERVAL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class ArchiveReplayPorts:
    """Adapters of one replay.

    ``services``: services whose inboxes ``look_up_inbox`` can read.
    ``write_audit``: gets the report of a replay that sends, when it begins and when it ends.
    ``log_progress``: gets a line for the operator.
    """

    read_archive: ArchiveReader
    open_publisher: PublisherFactory
    look_up_inbox: InboxLookup
    services: Collection[str]
    write_audit: Callable[[ArchiveReplayReport], None]
    log_progress: Callable[[str], None]


async def run_archive_replay(replay: ArchiveReplay, ports: ArchiveReplayPorts) -> ArchiveReplayReport:
    """Run ``replay`` and return its report. If the broker fails while messages are sent, the report has the error.

    Raises:
        Unreachable: the archive cannot be read.
        SelectionTooLarge: more messages are selected than one replay may hold.
    """
    async for message in ports.read_archive(replay.selection.since):
        replay.consider(message)
    inboxes = _Inboxes(ports.look_up_inbox)
    countable = [redelivery for redelivery in replay.redeliveries if redelivery.receiver.service in ports.services]
    new = await _read_inboxes(inboxes.find_unrecorded, countable, ports)
    replay.effects = _count_effects(countable, new, ())
    if replay.unsent:
        replay.state = ArchiveReplayState.INELIGIBLE
    elif replay.options.apply:
        with _audited(replay, ports):
            await _send_all(replay, ports)
            sent = _select_sent(replay, countable)
            new_sent = None if new is None else _select_sent(replay, new)
            missing = await _read_inboxes(inboxes.wait_until_recorded, new_sent or (), ports)
            replay.effects = _count_effects(sent, new_sent, missing)
    return replay.report()


@contextmanager
def _audited(replay: ArchiveReplay, ports: ArchiveReplayPorts) -> Iterator[None]:
    """Write the audit line at the beginning, and at the end however the block ends."""
    replay.state = ArchiveReplayState.RUNNING
    replay.effects = None
    ports.write_audit(replay.report())
    try:
        yield
    finally:
        is_complete = replay.sent == len(replay.redeliveries)
        replay.state = ArchiveReplayState.DONE if is_complete else ArchiveReplayState.INTERRUPTED
        ports.write_audit(replay.report())
        _log_progress(replay, ports)


async def _send_all(replay: ArchiveReplay, ports: ArchiveReplayPorts) -> None:
    """Send every redelivery; the report has an error that stops it early."""
    try:
        async with ports.open_publisher() as publisher:
            await _send_at_rate(replay, publisher, ports)
    except (Unreachable, Undeliverable) as error:
        replay.unsent[error_summary(error)] = len(replay.redeliveries) - replay.sent


async def _send_at_rate(replay: ArchiveReplay, publisher: Publisher, ports: ArchiveReplayPorts) -> None:
    """Send one message at a time, each confirmed before the next, so that every receiver gets the original order."""
    started_at = time.monotonic()
    logged_at = started_at
    for number, redelivery in enumerate(replay.redeliveries):
        due_at = started_at + number / replay.options.rate_per_s
        await asyncio.sleep(max(0.0, due_at - time.monotonic()))
        await _publish_with_retry(redelivery, publisher)
        replay.sent += 1
        if time.monotonic() - logged_at >= PROGRESS_INTERVAL_S:
            logged_at = time.monotonic()
            _log_progress(replay, ports)


async def _publish_with_retry(redelivery: ArchiveRedelivery, publisher: Publisher) -> None:
    """Publish until the broker confirms: a second copy has no second effect. Raises Unreachable, Undeliverable."""
    retry_until = time.monotonic() + PUBLISH_TIMEOUT_S
    while True:
        try:
            return await publisher.publish(addresses.REDELIVER, redelivery.receiver.queue, redelivery.wire)
        except Unreachable:
            if time.monotonic() > retry_until:
                raise
        await asyncio.sleep(PUBLISH_RETRY_INTERVAL_S)


class _Inboxes:
    """The receivers' inboxes. Every method raises Unreachable."""

    def __init__(self, look_up_inbox: InboxLookup) -> None:
        self._look_up_inbox = look_up_inbox
        self._lookups = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)

    async def find_unrecorded(self, redeliveries: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
        """Return the redeliveries that the inbox of their receiver does not hold."""
        recorded = await asyncio.gather(*(self._is_recorded(redelivery) for redelivery in redeliveries))
        return [redelivery for redelivery, is_recorded in zip(redeliveries, recorded, strict=True) if not is_recorded]

    async def wait_until_recorded(self, redeliveries: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
        """Poll until every inbox holds its redeliveries or RECORDING_TIMEOUT_S has passed; return the missing ones."""
        missing = await self.find_unrecorded(redeliveries)
        try:
            async with asyncio.timeout(RECORDING_TIMEOUT_S):
                while missing:
                    await asyncio.sleep(RECORDING_POLL_INTERVAL_S)
                    missing = await self.find_unrecorded(missing)
        except TimeoutError:
            return missing
        return missing

    async def _is_recorded(self, redelivery: ArchiveRedelivery) -> bool:
        async with self._lookups:
            return await self._look_up_inbox(redelivery.receiver.service, redelivery.message.id) is not None


async def _read_inboxes(
    read: Callable[[Collection[ArchiveRedelivery]], Awaitable[list[ArchiveRedelivery]]],
    redeliveries: Collection[ArchiveRedelivery],
    ports: ArchiveReplayPorts,
) -> list[ArchiveRedelivery] | None:
    """Return None, and log it, if an inbox does not answer: messages for a service that is down wait in its queue, so
    the replay continues without counting effects.
    """
    try:
        return await read(redeliveries)
    except Unreachable as error:
        ports.log_progress(f"effects are not counted: {error}")
        return None


def _select_sent(replay: ArchiveReplay, redeliveries: Collection[ArchiveRedelivery]) -> list[ArchiveRedelivery]:
    """Return those of ``redeliveries`` that were sent: an interrupted replay waits for no other."""
    sent = {(each.receiver.queue, each.message.id) for each in replay.redeliveries[: replay.sent]}
    return [each for each in redeliveries if (each.receiver.queue, each.message.id) in sent]


def _count_effects(
    countable: Collection[ArchiveRedelivery],
    new: Collection[ArchiveRedelivery] | None,
    missing: Collection[ArchiveRedelivery] | None,
) -> ReplayEffects | None:
    if not countable or new is None or missing is None:
        return None
    return ReplayEffects(len(countable) - len(new), len(new) - len(missing), len(missing))


def _log_progress(replay: ArchiveReplay, ports: ArchiveReplayPorts) -> None:
    ports.log_progress(f"{replay.id}: sent {replay.sent} of {len(replay.redeliveries)}")
