"""`prebook outbox resend|discard`."""

from datetime import UTC, datetime

import msgspec
import rich_click as click

from prebook.cli import interruption
from prebook.cli.outbox_access import connected, must_select, selected, selection
from prebook.cli.selecting import as_json_option
from prebook.cli.telling import examples
from prebook.postgres.given_up import GivenUp, OutboxRow, Refused, Terms, objection
from prebook.runtime.retention import KEEP_INBOX_S

go_option = click.option("--go", is_flag=True, help="Do it; without this nothing is changed.")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``ids``: what was done, or would be done, to the rows with these ids."""

    service: str
    act: str
    dry_run: bool
    ids: list[int]
    refused: list[Refused]


@click.command(
    epilog=examples(
        "prebook outbox resend booking 17                      says what it would send",
        "prebook outbox resend booking 17 18 --go",
        "prebook outbox resend pricing --cause unroutable --go",
        "prebook outbox resend matching --all --revive --go",
    )
)
@selection
@go_option
@click.option("--revive", is_flag=True, help="Also what has expired: it is sent without an end to its time.")
@click.option("--force", is_flag=True, help="Also what is too old for a receiver's inbox to know whether it had it.")
@as_json_option
def resend(
    *,
    service: str,
    ids: tuple[int, ...],
    everything: bool,
    go: bool,
    revive: bool,
    force: bool,
    as_json: bool,
    **given: str,
) -> None:
    """Send rows again, under the same id, order key and headers. Take the cause away first.

    A dry run, unless --go is given. A receiver that had the message before does nothing. Whoever asked a question that
    has expired has gone on without its answer, and a late one changes nothing for him.
    """
    must_select(ids, everything, given)
    terms = Terms(now=datetime.now(UTC), remembered_s=KEEP_INBOX_S, revive=revive, force=force)
    _say(interruption.run(_resent(service, ids, given, terms, go=go)), as_json)


@click.command(epilog=examples("prebook outbox discard booking 17 --reason 'a test' --go"))
@selection
@click.option("--reason", required=True)
@go_option
@as_json_option
def discard(
    *, service: str, ids: tuple[int, ...], everything: bool, reason: str, go: bool, as_json: bool, **given: str
) -> None:
    """Leave rows for good; they are shown with --state discarded, and can be sent again, until they are purged.

    A dry run, unless --go is given.
    """
    must_select(ids, everything, given)
    _say(interruption.run(_discarded(service, ids, given, reason, go=go)), as_json)


COMMANDS = (resend, discard)


async def _resent(service: str, ids: tuple[int, ...], given: dict[str, str], terms: Terms, *, go: bool) -> Report:
    async with connected() as connection:
        outbox = GivenUp(connection, service)
        rows = await selected(outbox, ids, given)
        reasons = {row.id: objection(row, terms) for row in rows}
        fit = [row for row in rows if not reasons[row.id]]
        done = await outbox.resend(fit, revive=terms.revive) if go else [row.id for row in fit]
    return Report(service=service, act="resend", dry_run=not go, ids=done, refused=_refused(rows, done, reasons))


async def _discarded(service: str, ids: tuple[int, ...], given: dict[str, str], reason: str, *, go: bool) -> Report:
    async with connected() as connection:
        outbox = GivenUp(connection, service)
        rows = await selected(outbox, ids, given)
        done = await outbox.discard(rows, reason) if go else [row.id for row in rows]
    return Report(service=service, act="discard", dry_run=not go, ids=done, refused=_refused(rows, done, {}))


def _refused(rows: list[OutboxRow], done: list[int], reasons: dict[int, str]) -> list[Refused]:
    left = sorted({row.id for row in rows} - set(done))
    return [Refused(id=i, reason=reasons.get(i) or "it is not, or no more, among what was given up") for i in left]


def _say(report: Report, as_json: bool) -> None:
    if as_json:
        return click.echo(msgspec.json.encode(report))
    for refused in report.refused:
        click.echo(f"not {refused.id}: {refused.reason}")
    click.echo(f"{report.act}: {len(report.ids)} of {report.service}'s rows{' (dry run; add --go)' * report.dry_run}")
    return None
