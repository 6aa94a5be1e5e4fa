"""`prebook parking replay|status|cancel`."""

import sys
import time
from collections.abc import Iterable

import msgspec
import rich_click as click

from prebook.cli.parking.operations_client import call_operations
from prebook.cli.parking.selection import json_option, parse_selection, selection_options
from prebook.contracts.replays import RedeliveryState, ReplayPage, ReplayRequest, ReplayState, ReplayView
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import FiniteRange

POLL_INTERVAL_S = 0.5


@click.command(
    epilog=examples(
        "prebook parking replay 17                        says what it would do",
        "prebook parking replay 17 --go --wait",
        "prebook parking replay --cause attempts_used_up --go --rate 20",
    )
)
@selection_options
@click.option("--go", is_flag=True, help="Do it; without this nothing is sent.")
@click.option("--rate", type=FiniteRange(0.01, 1000), help="Messages a second; else batches of 1, 2, 5, 20, ...")
@click.option("--keep-going", is_flag=True, help="Do not stop when the same cause comes back.")
@click.option("--force", is_flag=True, help="Also what is too old for the receiver's inbox to know whether it had it.")
@click.option("--wait", is_flag=True, help="Until it has ended; exit status 1 unless every message is resolved.")
@json_option
def replay(
    *,
    ids: tuple[int, ...],
    everything: bool,
    apply: bool,
    rate: float | None,
    keep_going: bool,
    force: bool,
    wait: bool,
    as_json: bool,
    **given: str,
) -> None:
    """Send parked messages again: those that fit now, in the order in which they were said.

    A dry run, unless --go is given.
    """
    request = ReplayRequest(
        selection=parse_selection(ids, everything, given),
        dry_run=not apply,
        rate_per_s=rate,
        keep_going=keep_going,
        force=force,
    )
    view = call_operations(ReplayView, "POST", "/v1/replays", request)
    if apply and wait:
        view = _follow(view)
    _print(view, as_json)
    if apply and wait:
        sys.exit(0 if view.counts == {RedeliveryState.RESOLVED: view.messages} else 1)


@click.command(epilog=examples("prebook parking status", "prebook parking status 9b2f00c1d3e4 --json"))
@click.argument("replay_id", required=False)
@json_option
def status(*, replay_id: str | None, as_json: bool) -> None:
    """How far a replay is; without an id, the newest hundred."""
    if replay_id:
        return _print(call_operations(ReplayView, "GET", f"/v1/replays/{replay_id}"), as_json)
    page = call_operations(ReplayPage, "GET", "/v1/replays")
    lines = (
        f"{r.id}  {r.state:<9}  {r.created_at.isoformat(timespec='seconds')}  {_counts_text(r)}" for r in page.replays
    )
    return click.echo(msgspec.json.encode(page) if as_json else "\n".join(lines) or "there was no replay yet")


@click.command(epilog=examples("prebook parking cancel 9b2f00c1d3e4"))
@click.argument("replay_id")
@json_option
def cancel(*, replay_id: str, as_json: bool) -> None:
    """Send nothing more of a replay. What is in flight is waited for."""
    _print(call_operations(ReplayView, "DELETE", f"/v1/replays/{replay_id}"), as_json)


COMMANDS = (replay, status, cancel)


def _follow(view: ReplayView) -> ReplayView:
    before = ""
    while view.state in {ReplayState.RUNNING, ReplayState.DRAINING}:
        if (now := _counts_text(view)) != before:
            log_to_stderr(f"{view.id}: {now}")
            before = now
        time.sleep(POLL_INTERVAL_S)
        view = call_operations(ReplayView, "GET", f"/v1/replays/{view.id}")
    return view


def _print(view: ReplayView, as_json: bool) -> None:
    click.echo(msgspec.json.encode(view) if as_json else "\n".join(_view_lines(view)))


def _view_lines(view: ReplayView) -> Iterable[str]:
    batches = ", ".join(map(str, view.batches)) or "none yet"
    if view.state is ReplayState.DRY_RUN and not view.messages:
        yield "would send nothing"
    elif view.state is ReplayState.DRY_RUN:
        yield f"would send {view.messages} message(s) in batches of {batches}; nothing was sent, --go sends them"
    else:
        yield f"replay {view.id}: {view.state}{f' ({view.reason})' if view.reason else ''}"
        yield f"  {_counts_text(view)}; batches sent: {batches}"
    if view.duplicates:
        yield f"  {view.duplicates} had been admitted by the receiver before"
    if view.beyond_retention:
        yield f"  {view.beyond_retention} too old for the receiver's inbox: each may have its effect twice"
    for refusal in view.ineligible:
        yield f"  not taken, {refusal.messages} message(s): {refusal.reason}"


def _counts_text(view: ReplayView) -> str:
    told = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in view.counts.items())
    return f"{view.messages} message(s): {told}" if told else "no message"
