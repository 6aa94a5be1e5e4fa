"""Carries a replay out: select, look whether it may be, send at a rate, ask what had an effect."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

from prebook.cli.archive.inbox_client import open_inbox_client
from prebook.cli.suite_access import ArchiveAccess, archive_unreadable
from prebook.coupling.ports import Publisher
from prebook.devstack.command_line import log_to_stderr
from prebook.devstack.errors import UserError
from prebook.messaging import addresses
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.errors import error_summary
from prebook.rabbit.archive_reader import open_publisher, read_archive
from prebook.replay.archive_replay import ArchiveReplay, SelectionTooLarge
from prebook.replay.archive_report import ArchiveReplayReport, ArchiveReplayState, ReplayEffects
from prebook.replay.receivers import ArchiveRedelivery

PROGRESS_INTERVAL_S = 1.0
RETRY_TIMEOUT_S, RETRY_INTERVAL_S = 30.0, 0.5
WriteAudit = Callable[[ArchiveReplayReport], None]


async def run_replay(replay: ArchiveReplay, access: ArchiveAccess, write_audit: WriteAudit) -> ArchiveReplayReport:
    """``keep`` gets the report of a replay that is to send: when it begins and when it ends, however it ends.

    Raises Trouble where the archive cannot be read, or where too much is selected.
    """
    await _select_messages(replay, access)
    async with open_inbox_client(access) as asked:
        ours = [sending for sending in replay.redeliveries if access.can_ask(sending.receiver)]
        new = await _ask_inboxes(asked.find_unadmitted, ours)
        replay.effects = _effects(ours, new, ())
        if replay.refusals:
            replay.state = ArchiveReplayState.REFUSED
        elif replay.options.apply:
            with _audit(replay, write_audit):
                await _send_all(replay, access)
                missing = await _ask_inboxes(asked.wait_for_admission, new or ())
                replay.effects = _effects(ours, new, missing)
    return replay.report()


async def _select_messages(replay: ArchiveReplay, access: ArchiveAccess) -> None:
    try:
        async for kept in read_archive(access.archive_url, replay.selection.since):
            replay.consider(kept)
    except Unreachable as error:
        raise archive_unreadable(error) from error
    except SelectionTooLarge as error:
        raise UserError(str(error), "narrow it by --from, --to, --type or --booking") from error


@contextmanager
def _audit(replay: ArchiveReplay, write_audit: WriteAudit) -> Iterator[None]:
    replay.state, replay.effects = ArchiveReplayState.RUNNING, None
    write_audit(replay.report())
    try:
        yield
    finally:
        replay.state = (
            ArchiveReplayState.DONE if replay.sent == len(replay.redeliveries) else ArchiveReplayState.INTERRUPTED
        )
        write_audit(replay.report())
        log_to_stderr(f"{replay.id}: sent {replay.sent} of {len(replay.redeliveries)}")


async def _send_all(replay: ArchiveReplay, access: ArchiveAccess) -> None:
    """What ends it before its time is told among the refusals."""
    try:
        async with open_publisher(access.archive_url) as publisher:
            await _send_at_rate(replay, publisher)
    except (Unreachable, Undeliverable) as error:
        replay.refusals[error_summary(error)] = len(replay.redeliveries) - replay.sent


async def _send_at_rate(replay: ArchiveReplay, publisher: Publisher) -> None:
    """One after the other, each confirmed before the next: every receiver gets them in the old order."""
    began = told = time.monotonic()
    for number, sending in enumerate(replay.redeliveries):
        await asyncio.sleep(max(0.0, began + number / replay.options.rate_per_s - time.monotonic()))
        await _publish_with_retry(sending, publisher)
        replay.sent += 1
        if time.monotonic() - told >= PROGRESS_INTERVAL_S:
            told = time.monotonic()
            log_to_stderr(f"{replay.id}: sent {replay.sent} of {len(replay.redeliveries)}")


async def _publish_with_retry(sending: ArchiveRedelivery, publisher: Publisher) -> None:
    """Again for a while where it is not confirmed: what arrives twice has one effect."""
    until = time.monotonic() + RETRY_TIMEOUT_S
    while True:
        try:
            return await publisher.publish(addresses.REDELIVER, sending.receiver.queue, sending.wire)
        except Unreachable:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(RETRY_INTERVAL_S)


async def _ask_inboxes(
    ask: Callable[[Collection[ArchiveRedelivery]], Awaitable[list[ArchiveRedelivery]]],
    sendings: Collection[ArchiveRedelivery],
) -> list[ArchiveRedelivery] | None:
    """None, and it is said, where an inbox cannot be asked: a replay to a service that is down waits in its queue."""
    try:
        return await ask(sendings)
    except Unreachable as error:
        log_to_stderr(f"effects are not counted: {error}")
        return None


def _effects(
    ours: Collection[ArchiveRedelivery],
    new: Collection[ArchiveRedelivery] | None,
    missing: Collection[ArchiveRedelivery] | None,
) -> ReplayEffects | None:
    if not ours or new is None or missing is None:
        return None
    return ReplayEffects(len(ours) - len(new), len(new) - len(missing), len(missing))
