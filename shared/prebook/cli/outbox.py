"""`prebook outbox`: messages that a service could not publish, and how to send or discard them."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.suite_access import connect_database
from prebook.devstack import command_line, parameters
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import (
    force_option,
    given_filters,
    id_argument,
    ignore_expiry_option,
    json_option,
    reason_option,
    require_one_selection,
    state_option,
)
from prebook.devstack.terminal import PlainConsole, echo, echo_lines
from prebook.flows import PROCESSES
from prebook.messaging.outbox.store import ABANDONED_STATES, OutboxState
from prebook.postgres.outbox_admin import IneligibleRow, MessageContent, OutboxAdmin, OutboxRow
from prebook.replay.eligibility import IneligibleReason, ReplayPolicy, ineligible_reason
from prebook.runtime.retention import INBOX_DEDUP_S

UNRESOLVED_STATES = (OutboxState.EXPIRED, OutboxState.UNDELIVERABLE)
"""States of abandoned rows that no operator has decided about yet."""
STATES = tuple(state.value for state in (OutboxState.WAITING, *UNRESOLVED_STATES, OutboxState.DISCARDED))
FILTER_HELP = {
    "cause": "Cause, such as unroutable, too_large, nacked, refused or expired.",
    "type": "Message type, such as prebook.quote_fare.v1.",
    "flow": "Flow or event.",
    "conversation_id": "Id of the booking.",
    "message_id": "Id of the message.",
}
"""Help texts of the filter options, by key of outbox_admin.FILTERS."""
INELIGIBLE_TEXTS = {
    IneligibleReason.EXPIRED: "it has expired; --ignore-expiry sends it without its expiry",
    IneligibleReason.OUTSIDE_INBOX_WINDOW: (
        "it is older than the receivers' deduplication window; --force sends it, and it may take effect twice"
    ),
}
AGE_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

service_argument = click.argument("service", type=click.Choice(PROCESSES))
filter_options = parameters.filter_options(FILTER_HELP)
selection_options = parameters.selection_options(FILTER_HELP, "All abandoned rows of this service.")
apply_option = parameters.apply_option("Change the rows; without this option nothing is changed.")


class OutboxListing(msgspec.Struct, frozen=True, kw_only=True):
    """Abandoned rows, service by service, the oldest first."""

    rows: list[OutboxRow]


class OutboxRowView(msgspec.Struct, frozen=True, kw_only=True):
    """An outbox row with the content of its message."""

    row: OutboxRow
    content: MessageContent


class OutboxChangeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a change, with the ``ids`` of the rows that were changed, or would be in a dry run."""

    service: str
    action: str
    dry_run: bool
    ids: list[int]
    ineligible: list[IneligibleRow]


@click.group(
    epilog=examples(
        "prebook outbox list                                        abandoned rows with their causes",
        "prebook outbox show booking 17                             one row in full",
        "prebook outbox resend booking --cause unroutable           prints what it would send",
        "prebook outbox resend booking --cause unroutable --apply",
    )
)
def outbox() -> None:
    """Inspect, resend and discard messages that a service could not publish.

    Messages that a receiver could not handle are in `prebook parking`.
    """


@outbox.command("list", epilog=examples("prebook outbox list --service booking --state waiting --json | jq .rows"))
@click.option(
    "--service", "services", type=click.Choice(PROCESSES), multiple=True, help="Only this service; repeatable."
)
@state_option(STATES, "Only this state; repeatable. [default: expired and undeliverable]")
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="Maximum number of rows per service.",
)
@json_option()
def list_(*, services: tuple[str, ...], states: tuple[str, ...], limit: int, as_json: bool, **filters: str) -> None:
    """List abandoned rows, the oldest first."""
    found = _read_rows(services or PROCESSES, states or UNRESOLVED_STATES, given_filters(filters), limit)
    rows = command_line.run_interruptible(found)
    if as_json:
        echo(msgspec.json.encode(OutboxListing(rows=rows)))
    else:
        PlainConsole().print(_table(rows))


@outbox.command(epilog=examples("prebook outbox show booking 17", "prebook outbox show booking 17 --json | jq .row"))
@service_argument
@id_argument("row_id")
@json_option()
def show(*, service: str, row_id: int, as_json: bool) -> None:
    """Print everything about one row: state, cause, failures, headers, body."""
    view = command_line.run_interruptible(_read_view(service, row_id))
    if as_json:
        echo(msgspec.json.encode(view))
    else:
        echo_lines(_view_lines(view))


@outbox.command(
    epilog=examples(
        "prebook outbox resend booking 17                           prints what it would send",
        "prebook outbox resend booking 17 18 --apply",
        "prebook outbox resend pricing --cause unroutable --apply",
        "prebook outbox resend matching --all --ignore-expiry --apply",
    )
)
@service_argument
@selection_options
@apply_option
@ignore_expiry_option("Also send expired messages; they get no new expiry.")
@force_option("Also send messages older than the receivers' deduplication window: they may take effect twice.")
@json_option()
def resend(
    *,
    service: str,
    ids: tuple[int, ...],
    everything: bool,
    apply: bool,
    ignore_expiry: bool,
    force: bool,
    as_json: bool,
    **filters: str,
) -> None:
    """Send abandoned rows again under the same id, ordering key and headers. Remove the cause first.

    A dry run, unless --apply is given. A receiver that has handled the message before ignores it. The sender of an
    expired request has gone on without its reply, and a late reply changes nothing there.
    """
    require_one_selection("rows", ids, everything, filters)
    policy = ReplayPolicy(now=datetime.now(UTC), inbox_dedup_s=INBOX_DEDUP_S, ignore_expiry=ignore_expiry, force=force)
    _print_report(command_line.run_interruptible(_resend(service, ids, filters, policy, apply=apply)), as_json)


@outbox.command(epilog=examples("prebook outbox discard booking 17 --reason 'a test' --apply"))
@service_argument
@selection_options
@reason_option("Why they are discarded; kept with each row.")
@apply_option
@json_option()
def discard(
    *, service: str, ids: tuple[int, ...], everything: bool, reason: str, apply: bool, as_json: bool, **filters: str
) -> None:
    """Discard abandoned rows. Until they are purged, `--state discarded` lists them and `resend` sends them.

    A dry run, unless --apply is given.
    """
    require_one_selection("rows", ids, everything, filters)
    _print_report(command_line.run_interruptible(_discard(service, ids, filters, reason, apply=apply)), as_json)


def ineligible_text(row: OutboxRow, policy: ReplayPolicy) -> str:
    """Return why ``row`` is not sent again, with the remedy; empty if the row is eligible."""
    if row.state not in ABANDONED_STATES:
        return f"its state is {row.state}; only abandoned rows can be resent"
    reason = ineligible_reason(policy, occurred_at=row.created_at, expires_at=row.expires_at)
    return INELIGIBLE_TEXTS[reason] if reason else ""


async def _read_rows(
    services: Iterable[str], states: Iterable[str], filters: dict[str, str], limit: int
) -> list[OutboxRow]:
    async with connect_database() as connection:
        found = [await OutboxAdmin(connection, service).list_rows(list(states), filters, limit) for service in services]
    return [row for rows in found for row in rows]


async def _read_view(service: str, row_id: int) -> OutboxRowView:
    async with connect_database() as connection:
        store = OutboxAdmin(connection, service)
        rows = await store.find_rows([row_id])
        content = await store.read_content(row_id)
    if not rows or content is None:
        raise UserError(f"{service}'s outbox has no row {row_id}", "`prebook outbox list` lists the rows")
    return OutboxRowView(row=rows[0], content=content)


async def _resend(
    service: str, ids: tuple[int, ...], filters: dict[str, str], policy: ReplayPolicy, *, apply: bool
) -> OutboxChangeReport:
    async with connect_database() as connection:
        store = OutboxAdmin(connection, service)
        rows = await _read_selected_rows(store, ids, filters)
        reasons = {row.id: ineligible_text(row, policy) for row in rows}
        eligible = [row for row in rows if not reasons[row.id]]
        changed = (
            await store.resend(eligible, ignore_expiry=policy.ignore_expiry) if apply else [row.id for row in eligible]
        )
    return OutboxChangeReport(
        service=service,
        action="resend",
        dry_run=not apply,
        ids=changed,
        ineligible=_ineligible_rows(rows, changed, reasons),
    )


async def _discard(
    service: str, ids: tuple[int, ...], filters: dict[str, str], reason: str, *, apply: bool
) -> OutboxChangeReport:
    async with connect_database() as connection:
        store = OutboxAdmin(connection, service)
        rows = await _read_selected_rows(store, ids, filters)
        changed = await store.discard(rows, reason) if apply else [row.id for row in rows]
    return OutboxChangeReport(
        service=service,
        action="discard",
        dry_run=not apply,
        ids=changed,
        ineligible=_ineligible_rows(rows, changed, {}),
    )


async def _read_selected_rows(store: OutboxAdmin, ids: tuple[int, ...], filters: dict[str, str]) -> list[OutboxRow]:
    """Return the rows with ``ids``, or those that match ``filters``. Raises UserError if an id is missing."""
    if not ids:
        return await store.list_rows(UNRESOLVED_STATES, given_filters(filters), None)
    rows = await store.find_rows(ids)
    if missing := sorted(set(ids) - {row.id for row in rows}):
        listed = ", ".join(map(str, missing))
        raise UserError(f"there is no row {listed} in this outbox", "`prebook outbox list` lists the rows")
    return rows


def _ineligible_rows(rows: list[OutboxRow], changed: list[int], reasons: dict[int, str]) -> list[IneligibleRow]:
    """Return the rows left unchanged. ``reasons`` by row id; a row without one was changed concurrently."""
    unchanged = sorted({row.id for row in rows} - set(changed))
    return [IneligibleRow(id=row_id, reason=reasons.get(row_id) or "it is no longer abandoned") for row_id in unchanged]


def _print_report(report: OutboxChangeReport, as_json: bool) -> None:
    if as_json:
        return echo(msgspec.json.encode(report))
    for row in report.ineligible:
        echo(f"row {row.id} skipped: {row.reason}")
    hint = " (dry run; add --apply)" if report.dry_run else ""
    echo(f"{report.action}: {len(report.ids)} row(s) of {report.service}{hint}")
    return None


def _table(rows: list[OutboxRow]) -> Table:
    table = Table(title=f"{len(rows)} rows")
    for name in ("service", "id", "state", "cause", "type", "conversation", "failures", "age", "error"):
        table.add_column(name, overflow="fold")
    now = datetime.now(UTC)
    for row in rows:
        cells = (row.service, str(row.id), row.state, row.cause or "", row.type, row.conversation_id, str(row.failures))
        table.add_row(*cells, _age_text(now, row.created_at), row.error or "")
    return table


def _age_text(now: datetime, since: datetime) -> str:
    seconds = int((now - since).total_seconds())
    return next((f"{seconds // size} {unit}" for unit, size in AGE_UNITS if seconds >= size), "0 s")


def _view_lines(view: OutboxRowView) -> Iterable[str]:
    for name, value in msgspec.to_builtins(view.row).items():
        yield f"{name:<16} {'' if value is None else value}"
    yield from (f"header           {name}: {value}" for name, value in sorted(view.content.headers.items()))
    yield f"body             {view.content.body}"
