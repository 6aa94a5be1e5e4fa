"""Run a replay from the archive: select, check eligibility, send at a rate, count what took effect."""

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
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.rabbit.archive_reader import open_publisher, read_archive
from prebook.replay.archive_replay import ArchiveReplay, SelectionTooLarge
from prebook.replay.archive_report import ArchiveReplayReport, ArchiveReplayState, ReplayEffects
from prebook.replay.receivers import ArchiveRedelivery

PROGRESS_INTERVAL_S = 1.0
RETRY_TIMEOUT_S = 30.0
RETRY_INTERVAL_S = 0.5
WriteAudit = Callable[[ArchiveReplayReport], None]


async def run_replay(replay: ArchiveReplay, access: ArchiveAccess, write_audit: WriteAudit) -> ArchiveReplayReport:
    """Run ``replay`` and return its report. ``write_audit`` gets the report of a replay that sends, when it begins and
    when it ends, in whichever way.

    Raises UserError where the archive cannot be read, or where too much is selected.
    """
    await _select_messages(replay, access)
    async with open_inbox_client(access) as inboxes:
        countable = [redelivery for redelivery in replay.redeliveries if access.can_ask(redelivery.receiver)]
        new = await _ask_inboxes(inboxes.find_unadmitted, countable)
        replay.effects = _effects(countable, new, ())
        if replay.refusals:
            replay.state = ArchiveReplayState.REFUSED
        elif replay.options.apply:
            with _audit(replay, write_audit):
                await _send_all(replay, access)
                missing = await _ask_inboxes(inboxes.wait_for_admission, new or ())
                replay.effects = _effects(countable, new, missing)
    return replay.report()


async def _select_messages(replay: ArchiveReplay, access: ArchiveAccess) -> None:
    try:
        async for message in read_archive(access.archive_url, replay.selection.since):
            replay.consider(message)
    except Unreachable as error:
        raise archive_unreadable(error) from error
    except SelectionTooLarge as error:
        raise UserError(str(error), "narrow it by --from, --to, --type or --booking") from error


@contextmanager
def _audit(replay: ArchiveReplay, write_audit: WriteAudit) -> Iterator[None]:
    replay.state = ArchiveReplayState.RUNNING
    replay.effects = None
    write_audit(replay.report())
    try:
        yield
    finally:
        complete = replay.sent == len(replay.redeliveries)
        replay.state = ArchiveReplayState.DONE if complete else ArchiveReplayState.INTERRUPTED
        write_audit(replay.report())
        _log_progress(replay)


async def _send_all(replay: ArchiveReplay, access: ArchiveAccess) -> None:
    """Send every redelivery; an error that stops it early becomes a refusal of the report."""
    try:
        async with open_publisher(access.archive_url) as publisher:
            await _send_at_rate(replay, publisher)
    except (Unreachable, Undeliverable) as error:
        replay.refusals[error_summary(error)] = len(replay.redeliveries) - replay.sent


async def _send_at_rate(replay: ArchiveReplay, publisher: Publisher) -> None:
    """Send one message at a time, each confirmed before the next, so that every receiver gets the original order."""
    started_at = logged_at = time.monotonic()
    for number, redelivery in enumerate(replay.redeliveries):
        due_at = started_at + number / replay.options.rate_per_s
        await asyncio.sleep(max(0.0, due_at - time.monotonic()))
        await _publish_with_retry(redelivery, publisher)
        replay.sent += 1
        if time.monotonic() - logged_at >= PROGRESS_INTERVAL_S:
            logged_at = time.monotonic()
            _log_progress(replay)


async def _publish_with_retry(redelivery: ArchiveRedelivery, publisher: Publisher) -> None:
    """Retry for RETRY_TIMEOUT_S where the broker does not confirm: a second copy has no second effect."""
    retry_until = time.monotonic() + RETRY_TIMEOUT_S
    while True:
        try:
            return await publisher.publish(addresses.REDELIVER, redelivery.receiver.queue, redelivery.wire)
        except Unreachable:
            if time.monotonic() > retry_until:
                raise
        await asyncio.sleep(RETRY_INTERVAL_S)


async def _ask_inboxes(
    ask: Callable[[Collection[ArchiveRedelivery]], Awaitable[list[ArchiveRedelivery]]],
    redeliveries: Collection[ArchiveRedelivery],
) -> list[ArchiveRedelivery] | None:
    """Return None, and log it, where an inbox does not answer: messages for a service that is down wait in its queue,
    so the replay goes on without counting effects.
    """
    try:
        return await ask(redeliveries)
    except Unreachable as error:
        log_to_stderr(f"effects are not counted: {error}")
        return None


def _effects(
    countable: Collection[ArchiveRedelivery],
    new: Collection[ArchiveRedelivery] | None,
    missing: Collection[ArchiveRedelivery] | None,
) -> ReplayEffects | None:
    if not countable or new is None or missing is None:
        return None
    return ReplayEffects(len(countable) - len(new), len(new) - len(missing), len(missing))


def _log_progress(replay: ArchiveReplay) -> None:
    log_to_stderr(f"{replay.id}: sent {replay.sent} of {len(replay.redeliveries)}")
