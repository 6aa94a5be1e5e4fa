"""`prebook archive`: inspect the archive stream and replay it to chosen receivers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial

import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.suite_access import ArchiveAccess, archive_unreadable, current_user, find_archive, find_broker
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_warnings_only
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import (
    FiniteRange,
    apply_option,
    force_option,
    ignore_expiry_option,
    json_option,
    rate_option,
)
from prebook.devstack.terminal import PlainConsole, echo, echo_lines
from prebook.flows import CONSOLE, SERVICES
from prebook.http.client import ServiceClient
from prebook.http.inbox_client import inbox_lookup
from prebook.http.signed_client import SignedHttpClient
from prebook.messaging import addresses
from prebook.messaging.errors import Unreachable
from prebook.rabbit.archive_reader import open_publisher, read_archive
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.replay.archive_replay import ArchiveReplay, ArchiveReplayOptions, SelectionTooLarge
from prebook.replay.archive_report import (
    ArchiveReplayReport,
    ArchiveReplayState,
    ArchiveRetention,
    ArchiveStatus,
    ArchiveTally,
)
from prebook.replay.archive_runner import ArchiveReplayPorts, run_archive_replay
from prebook.replay.archive_selection import ArchiveSelection
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy
from prebook.replay.receivers import NotSubscribed, Receiver, event_receivers
from prebook.runtime import paths
from prebook.runtime.retention import INBOX_DEDUP_S
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import sender_check

TIME_HINT = "write it as 2026-11-24T08:00:00Z"
AUDIT_FILE = "replays.jsonl"
"""Audit log in the suite's home directory: one line when a replay begins and one when it ends."""
DEFAULT_RATE_PER_S = 50.0
INBOX_TIMEOUT_S = 5.0
INELIGIBLE_TEXTS: dict[str, str] = {
    IneligibleReason.OUTSIDE_INBOX_WINDOW: (
        "older than the receiver's inbox deduplication window; --force sends them, and they may take effect twice"
    ),
}
"""Texts with remedies by reason; other reasons are shown as they are."""
REPLAY_EXAMPLES = examples(
    "prebook archive replay --booking bk_... --to-service pricing           prints what it would do",
    "prebook archive replay --booking bk_... --to-service pricing --apply",
    "prebook archive replay --from 2026-11-24T08:00:00Z --to 2026-11-24T09:00:00Z --to-service matching --apply",
    "prebook archive replay --type prebook.booking_confirmed.v1 --to-queue billing.events --apply",
)


@click.group()
def archive() -> None:
    """Inspect and replay the archive, a stream that keeps events, and requests and replies of one_way, for some days.

    Reading removes nothing.
    """
    log_warnings_only()


@archive.command(epilog=examples("prebook archive status", "prebook archive status --json | jq .types"))
@json_option()
def status(*, as_json: bool) -> None:
    """Print retention, extent and the number of messages by type; counts by reading the whole archive."""
    archive_status = command_line.run_interruptible(_read_status(find_archive()))
    if as_json:
        echo(msgspec.json.encode(archive_status))
    else:
        PlainConsole().print(_status_table(archive_status))


async def _read_status(access: ArchiveAccess) -> ArchiveStatus:
    """Count the messages in the archive. Raises UserError if broker or archive cannot be read."""
    retention = await _read_retention()
    tally = ArchiveTally()
    try:
        async for message in read_archive(access.archive_url):
            tally.add(message)
    except Unreachable as error:
        raise archive_unreadable(error) from error
    return tally.status(retention)


async def _read_retention() -> ArchiveRetention:
    try:
        async with find_broker() as broker:
            limits = dict((await broker.read_live_broker()).effective_policies.get(addresses.ARCHIVE_QUEUE, ()))
    except (BrokerUnreachable, BrokerRefused) as error:
        raise UserError(str(error), "`prebook doctor` shows whether the broker answers") from error
    return ArchiveRetention(
        max_age=str(limits.get("max-age", "")),
        max_bytes=int(limits.get("max-length-bytes", 0)),
        segment_bytes=int(limits.get("stream-max-segment-size-bytes", 0)),
    )


def _parse_time(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time; {TIME_HINT}") from None
    if at is not None and at.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no time zone; {TIME_HINT}")
    return at


@archive.command(epilog=REPLAY_EXAMPLES)
@click.option("--from", "since", metavar="TIME", callback=_parse_time, help="Only events at or after this time.")
@click.option("--to", "until", metavar="TIME", callback=_parse_time, help="Only events before this time.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Only this message type, such as prebook.booking_ended.v3; repeatable.",
)
@click.option("--booking", "bookings", multiple=True, metavar="ID", help="Only this booking; repeatable.")
@click.option(
    "--to-service",
    "services",
    multiple=True,
    type=click.Choice(SERVICES),
    help="Send this service the events that it subscribes to; repeatable.",
)
@click.option(
    "--to-queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="Send to this queue, which must be bound by its name to prebook.redeliver; repeatable.",
)
@apply_option("Send the messages; without this option nothing is sent.")
@rate_option("Messages per second.", value_range=FiniteRange(0.1, 5000), default=DEFAULT_RATE_PER_S)
@ignore_expiry_option("Send expired requests without their expiry, so that they are handled.")
@force_option("Also send messages older than the receivers' deduplication window: they may take effect twice.")
@json_option()
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
    """Send archived messages again, to the named receivers only.

    A dry run, unless --apply is given. Messages keep their ids: a receiver that has handled one before ignores it, and
    publishes nothing. A receiver with an empty inbox, such as a new subscriber, handles them as new messages.
    """
    selection = ArchiveSelection(since=since, until=until, types=frozenset(types), booking_ids=frozenset(bookings))
    policy = ReplayPolicy(now=datetime.now(UTC), inbox_dedup_s=INBOX_DEDUP_S, ignore_expiry=ignore_expiry, force=force)
    options = ArchiveReplayOptions(
        receivers=_receivers(services, queues),
        policy=policy,
        apply=apply,
        rate_per_s=rate,
        check_sender=sender_check(suite_topology(())),
        requested_by=current_user(),
    )
    report = command_line.run_interruptible(_run(ArchiveReplay(selection, options), find_archive()))
    if as_json:
        echo(msgspec.json.encode(report))
    else:
        echo_lines(_report_lines(report))
    if report.unsent:
        raise UserError("not every message was sent", "see the reasons in the report; sending twice does no harm")


async def _run(archive_replay: ArchiveReplay, access: ArchiveAccess) -> ArchiveReplayReport:
    """Run the replay and return its report. Raises UserError if the archive cannot be read or too much is selected."""
    http = ServiceClient(access.service_urls)
    ports = ArchiveReplayPorts(
        read_archive=partial(read_archive, access.archive_url),
        open_publisher=partial(open_publisher, access.archive_url),
        look_up_inbox=inbox_lookup(SignedHttpClient(http, CONSOLE, lambda: access.console_secrets), INBOX_TIMEOUT_S),
        services=access.service_urls.keys(),
        write_audit=_append_audit,
        log_progress=command_line.log_to_stderr,
    )
    try:
        return await run_archive_replay(archive_replay, ports)
    except Unreachable as error:
        raise archive_unreadable(error) from error
    except SelectionTooLarge as error:
        raise UserError(str(error), "narrow the selection by --from, --to, --type or --booking") from error
    finally:
        await http.close()


def _receivers(services: tuple[str, ...], queues: tuple[str, ...]) -> list[Receiver]:
    """Return the named receivers. Raises click.UsageError without any, or if a service subscribes to no events."""
    if not services and not queues:
        raise click.UsageError("no receiver is given: add --to-service NAME or --to-queue NAME")
    try:
        return [*event_receivers(services, suite_topology(())), *map(Receiver, queues)]
    except NotSubscribed as error:
        raise click.UsageError(str(error)) from error


def _append_audit(report: ArchiveReplayReport) -> None:
    path = paths.home_dir() / AUDIT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(report) + b"\n")


def _report_lines(report: ArchiveReplayReport) -> Iterable[str]:
    selected = f"{report.messages} messages selected, {report.without_receiver} of them without a receiver"
    yield f"{report.id} ({report.state}): {selected}"
    yield f"to {', '.join(report.receivers)}: {report.sent} of {report.redeliveries} sent"
    if report.forbidden:
        yield f"left out: {report.forbidden} messages whose senders may not send them to the receivers"
    if report.duplicates is not None:
        label = "would take effect" if report.state is ArchiveReplayState.DRY_RUN else "took effect"
        counts = f"{label}: {report.new_effects}; unconfirmed: {report.unconfirmed}"
        yield f"handled by the receivers before: {report.duplicates}; {counts}"
    for unsent in report.unsent:
        yield f"not sent: {unsent.messages} messages: {INELIGIBLE_TEXTS.get(unsent.reason, unsent.reason)}"
    if report.state is ArchiveReplayState.DRY_RUN:
        yield "nothing was sent; add --apply"


def _status_table(found: ArchiveStatus) -> Table:
    retention = found.retention
    limits = f"kept {retention.max_age} or {retention.max_bytes:,} bytes, in segments of {retention.segment_bytes:,}"
    extent = f"offsets {found.first_offset} to {found.last_offset}"
    times = f"times {found.first_occurred_at} to {found.last_occurred_at}"
    title = f"{found.messages} messages, {found.copies} copies, {found.payload_bytes:,} bytes of payload"
    if found.undecodable:
        title += f", {found.undecodable} with undecodable fields"
    table = Table(title=title, caption=f"{limits}; {extent}, {times}")
    table.add_column("type", overflow="fold")
    table.add_column("messages", justify="right")
    for name, count in found.types.items():
        table.add_row(name, str(count))
    return table
