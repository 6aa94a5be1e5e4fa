"""Carries a replay out: select, look whether it may be, send at a rate, ask what had an effect."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

from prebook.cli.archive.inbox_client import inboxes
from prebook.cli.suite_access import Access, unread
from prebook.coupling.ports import Publisher
from prebook.devstack.command_line import say
from prebook.devstack.errors import Trouble
from prebook.messaging import addresses
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.errors import spelled
from prebook.rabbit.archive_reader import publishing, read
from prebook.replay.archive_replay import Replay, TooMuch
from prebook.replay.archive_report import Effects, Report, State
from prebook.replay.receivers import Sending

SAY_EVERY_S = 1.0
AGAIN_WITHIN_S, AGAIN_EVERY_S = 30.0, 0.5
Keep = Callable[[Report], None]


async def carry_out(replay: Replay, where: Access, keep: Keep) -> Report:
    """``keep`` gets the report of a replay that is to send: when it begins and when it ends, however it ends.

    Raises Trouble where the archive cannot be read, or where too much is selected.
    """
    await _select(replay, where)
    async with inboxes(where) as asked:
        ours = [sending for sending in replay.sendings if where.can_ask(sending.receiver)]
        new = await _answered(asked.without, ours)
        replay.effects = _effects(ours, new, ())
        if replay.refusals:
            replay.state = State.REFUSED
        elif replay.terms.go:
            with _noted(replay, keep):
                await _sent(replay, where)
                missing = await _answered(asked.still_without, new or ())
                replay.effects = _effects(ours, new, missing)
    return replay.report()


async def _select(replay: Replay, where: Access) -> None:
    try:
        async for kept in read(where.archive_url, replay.selection.since):
            replay.consider(kept)
    except Unreachable as error:
        raise unread(error) from error
    except TooMuch as error:
        raise Trouble(str(error), "narrow it by --from, --to, --type or --booking") from error


@contextmanager
def _noted(replay: Replay, keep: Keep) -> Iterator[None]:
    replay.state, replay.effects = State.RUNNING, None
    keep(replay.report())
    try:
        yield
    finally:
        replay.state = State.DONE if replay.sent == len(replay.sendings) else State.BROKEN_OFF
        keep(replay.report())
        say(f"{replay.id}: sent {replay.sent} of {len(replay.sendings)}")


async def _sent(replay: Replay, where: Access) -> None:
    """What ends it before its time is told among the refusals."""
    try:
        async with publishing(where.archive_url) as publisher:
            await _send(replay, publisher)
    except (Unreachable, Undeliverable) as error:
        replay.refusals[spelled(error)] = len(replay.sendings) - replay.sent


async def _send(replay: Replay, publisher: Publisher) -> None:
    """One after the other, each confirmed before the next: every receiver gets them in the old order."""
    began = told = time.monotonic()
    for number, sending in enumerate(replay.sendings):
        await asyncio.sleep(max(0.0, began + number / replay.terms.rate_per_s - time.monotonic()))
        await _hand_over(sending, publisher)
        replay.sent += 1
        if time.monotonic() - told >= SAY_EVERY_S:
            told = time.monotonic()
            say(f"{replay.id}: sent {replay.sent} of {len(replay.sendings)}")


async def _hand_over(sending: Sending, publisher: Publisher) -> None:
    """Again for a while where it is not confirmed: what arrives twice has one effect."""
    until = time.monotonic() + AGAIN_WITHIN_S
    while True:
        try:
            return await publisher.publish(addresses.REDELIVER, sending.receiver.queue, sending.wire)
        except Unreachable:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(AGAIN_EVERY_S)


async def _answered(
    ask: Callable[[Collection[Sending]], Awaitable[list[Sending]]], sendings: Collection[Sending]
) -> list[Sending] | None:
    """None, and it is said, where an inbox cannot be asked: a replay to a service that is down waits in its queue."""
    try:
        return await ask(sendings)
    except Unreachable as error:
        say(f"effects are not counted: {error}")
        return None


def _effects(
    ours: Collection[Sending], new: Collection[Sending] | None, missing: Collection[Sending] | None
) -> Effects | None:
    if not ours or new is None or missing is None:
        return None
    return Effects(len(ours) - len(new), len(new) - len(missing), len(missing))
