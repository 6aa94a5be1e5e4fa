"""`prebook archive`: what has been said, and saying it again to chosen receivers."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli.archive.replay_runner import run_replay
from prebook.cli.parking.selection import json_option
from prebook.cli.suite_access import ArchiveAccess, BrokerNotFound, archive_unreadable, find_archive, find_broker
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_warnings_only
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import FiniteRange
from prebook.flows import SERVICES
from prebook.messaging import addresses
from prebook.messaging.channel import Unreachable
from prebook.rabbit.archive_reader import read_archive
from prebook.rabbit.management import BrokerRefused, BrokerUnreachable
from prebook.replay.archive_replay import ArchiveReplay, ArchiveReplayOptions
from prebook.replay.archive_report import (
    ArchiveReplayReport,
    ArchiveReplayState,
    ArchiveRetention,
    ArchiveStatus,
    ArchiveTally,
)
from prebook.replay.archive_selection import ArchiveSelection
from prebook.replay.receivers import NotSubscribed, Receiver, event_receivers
from prebook.runtime import paths
from prebook.runtime.retention import INBOX_DEDUP_S
from prebook.topology.model import suite_topology

TIME_HINT = "write it as 2026-11-24T08:00:00Z"
AUDIT_FILE = "replays.jsonl"
"""In the suite's home: who sent what again, and what came of it."""
REPLAY_EXAMPLES = examples(
    "prebook archive replay --booking bk_... --to-service pricing        says what it would do",
    "prebook archive replay --booking bk_... --to-service pricing --go",
    "prebook archive replay --from 2026-11-24T08:00:00Z --to 2026-11-24T09:00:00Z --to-service matching --go",
    "prebook archive replay --type prebook.booking_confirmed.v1 --to-queue billing.facts --go",
)


@click.group()
def archive() -> None:
    """Every event is kept in a stream for some days. Reading takes nothing away."""
    log_warnings_only()


@archive.command(epilog=examples("prebook archive status", "prebook archive status --json | jq .types"))
@json_option
def status(*, as_json: bool) -> None:
    """Retention, extent, and how many messages of which type, counted by reading all of it."""
    told = command_line.run_interruptible(_read_status(find_archive()))
    if as_json:
        click.echo(msgspec.json.encode(told))
    else:
        Console().print(_status_table(told))


async def _read_status(access: ArchiveAccess) -> ArchiveStatus:
    retention, tally = await _read_retention(), ArchiveTally()
    try:
        async for kept in read_archive(access.archive_url):
            tally.add(kept)
    except Unreachable as error:
        raise archive_unreadable(error) from error
    return tally.status(retention)


async def _read_retention() -> ArchiveRetention:
    try:
        async with find_broker() as broker:
            limits = dict((await broker.read_live_broker()).effective_policies.get(addresses.ARCHIVE_QUEUE, ()))
    except (BrokerNotFound, BrokerUnreachable, BrokerRefused) as error:
        raise UserError(str(error), "`prebook doctor` tells whether the broker answers") from error
    return ArchiveRetention(
        max_age=str(limits.get("max-age", "")),
        max_bytes=int(limits.get("max-length-bytes", 0)),
        segment_bytes=int(limits.get("stream-max-segment-size-bytes", 0)),
    )


def _parse_time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time; {TIME_HINT}") from None
    if at is not None and at.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no zone; {TIME_HINT}")
    return at


@archive.command(epilog=REPLAY_EXAMPLES)
@click.option("--from", "since", metavar="TIME", callback=_parse_time, help="Said then or later.")
@click.option("--to", "until", metavar="TIME", callback=_parse_time, help="Said before then.")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Such as prebook.booking_ended.v1; may be repeated."
)
@click.option("--booking", "bookings", multiple=True, metavar="ID", help="May be repeated.")
@click.option("--to-service", "services", multiple=True, type=click.Choice(SERVICES), help="What it subscribes to.")
@click.option(
    "--to-queue", "queues", multiple=True, metavar="NAME", help="A queue bound by its name to prebook.redeliver."
)
@click.option("--go", is_flag=True, help="Do it; without this nothing is sent.")
@click.option("--rate", type=FiniteRange(0.1, 5000), default=50.0, show_default=True, help="Messages a second.")
@click.option("--revive", is_flag=True, help="Questions whose time is over are asked again, as if it were not.")
@click.option("--force", is_flag=True, help="Also what is so old that the receiver's inbox may have forgotten it.")
@json_option
def replay(
    *,
    since: datetime | None,
    until: datetime | None,
    types: tuple[str, ...],
    bookings: tuple[str, ...],
    services: tuple[str, ...],
    queues: tuple[str, ...],
    apply: bool,
    rate: float,
    ignore_expiry: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Send archived messages again, to the receivers that are named and to nobody else.

    They keep their ids: a receiver that had one before does nothing, and sends nothing on. A receiver with an empty
    inbox, such as a new subscriber, takes them as new, and what it then says is new too.
    """
    selection = ArchiveSelection(since=since, until=until, types=frozenset(types), booking_ids=frozenset(bookings))
    terms = ArchiveReplayOptions(
        receivers=_receivers(services, queues),
        inbox_dedup_s=INBOX_DEDUP_S,
        apply=apply,
        rate_per_s=rate,
        ignore_expiry=ignore_expiry,
        force=force,
    )
    report = command_line.run_interruptible(run_replay(ArchiveReplay(selection, terms), find_archive(), _append_audit))
    click.echo(msgspec.json.encode(report) if as_json else "\n".join(_report_lines(report)))
    if report.refusals:
        raise UserError("not everything was sent", "the report says why; what was sent once may be sent again")


def _receivers(services: tuple[str, ...], queues: tuple[str, ...]) -> list[Receiver]:
    if not services and not queues:
        raise click.UsageError("say who gets them: --to-service NAME or --to-queue NAME")
    try:
        return [*event_receivers(services, suite_topology(())), *map(Receiver, queues)]
    except NotSubscribed as error:
        raise click.UsageError(str(error)) from error


def _append_audit(report: ArchiveReplayReport) -> None:
    """A line when it begins and one when it ends."""
    path = paths.home_dir() / AUDIT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(report) + b"\n")


def _report_lines(report: ArchiveReplayReport) -> Iterable[str]:
    yield f"{report.id} ({report.state}): {report.messages} messages selected, {report.without_receiver} of them for no receiver"
    yield f"to {', '.join(report.receivers)}: {report.sent} of {report.redeliveries} sent"
    if report.duplicates is not None:
        coming = "would have an effect" if report.state is ArchiveReplayState.DRY_RUN else "had an effect"
        yield f"known to the receivers before: {report.duplicates}; {coming}: {report.new_effects}; open: {report.unconfirmed}"
    yield from (f"refused: {refusal.messages} messages: {refusal.reason}" for refusal in report.refusals)
    if report.state is ArchiveReplayState.DRY_RUN:
        yield "nothing was sent; add --go"


def _status_table(status_view: ArchiveStatus) -> Table:
    kept = status_view.retention
    extent = f"offsets {status_view.first_offset} to {status_view.last_offset}, said {status_view.first_occurred_at} to {status_view.last_occurred_at}"
    limits = f"kept {kept.max_age} or {kept.max_bytes:,} bytes, in segments of {kept.segment_bytes:,}"
    table = Table(
        title=f"{status_view.messages} messages, {status_view.copies} copies, {status_view.payload_bytes:,} bytes of payload",
        caption=f"{limits}; {extent}",
    )
    table.add_column("type", overflow="fold")
    table.add_column("messages", justify="right")
    for name, count in status_view.types.items():
        table.add_row(name, str(count))
    return table
