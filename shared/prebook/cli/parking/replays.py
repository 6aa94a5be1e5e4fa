"""`prebook parking replay`, `status` and `cancel`."""

import sys
import time
from collections.abc import Iterable

import msgspec
import rich_click as click

from prebook.cli.parking.operations_client import call_operations
from prebook.cli.parking.selection import parse_selection, selection_options
from prebook.contracts.replays import RedeliveryState, ReplayPage, ReplayRequest, ReplayState, ReplayView
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import FiniteRange, apply_option, force_option, json_option, rate_option
from prebook.devstack.terminal import echo, echo_lines

POLL_INTERVAL_S = 0.5


@click.command(
    epilog=examples(
        "prebook parking replay 17                           prints what it would send",
        "prebook parking replay 17 --apply --wait",
        "prebook parking replay --cause attempts_exhausted --apply --rate 20",
    )
)
@selection_options
@apply_option("Send the messages; without this option nothing is sent.")
@rate_option(
    "Messages per second. [default: batches of 1, 2, 5, 20, ..., each after the one before has settled]",
    value_range=FiniteRange(0.01, 1000),
)
@click.option("--keep-going", is_flag=True, help="Continue when messages fail again for the same cause.")
@force_option("Also send messages older than the receivers' deduplication window: they may take effect twice.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit status 1 unless every message is resolved.")
@json_option()
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
    **filters: str,
) -> None:
    """Send parked messages again: the selected ones that are eligible now, in the order of their publication.

    A dry run, unless --apply is given.
    """
    request = ReplayRequest(
        selection=parse_selection(ids, everything, filters),
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
@json_option()
def status(*, replay_id: str | None, as_json: bool) -> None:
    """Print the progress of a replay; without an id, of the newest hundred replays."""
    if replay_id:
        return _print(call_operations(ReplayView, "GET", f"/v1/replays/{replay_id}"), as_json)
    page = call_operations(ReplayPage, "GET", "/v1/replays")
    lines = (
        f"{r.id}  {r.state:<9}  {r.created_at.isoformat(timespec='seconds')}  {_counts_text(r)}" for r in page.replays
    )
    return echo(msgspec.json.encode(page) if as_json else "\n".join(lines) or "no replays yet")


@click.command(epilog=examples("prebook parking cancel 9b2f00c1d3e4"))
@click.argument("replay_id")
@json_option()
def cancel(*, replay_id: str, as_json: bool) -> None:
    """Stop a replay. Messages in flight are still awaited."""
    _print(call_operations(ReplayView, "DELETE", f"/v1/replays/{replay_id}"), as_json)


COMMANDS = (replay, status, cancel)


def _follow(view: ReplayView) -> ReplayView:
    """Log each change of the counts until the replay has ended, and return its last view."""
    logged = ""
    while view.state in {ReplayState.RUNNING, ReplayState.DRAINING}:
        if (counts := _counts_text(view)) != logged:
            log_to_stderr(f"{view.id}: {counts}")
            logged = counts
        time.sleep(POLL_INTERVAL_S)
        view = call_operations(ReplayView, "GET", f"/v1/replays/{view.id}")
    return view


def _print(view: ReplayView, as_json: bool) -> None:
    if as_json:
        echo(msgspec.json.encode(view))
    else:
        echo_lines(_view_lines(view))


def _view_lines(view: ReplayView) -> Iterable[str]:
    batches = ", ".join(map(str, view.batches)) or "none yet"
    if view.state is ReplayState.DRY_RUN and not view.messages:
        yield "would send nothing"
    elif view.state is ReplayState.DRY_RUN:
        yield f"would send {view.messages} message(s) in batches of {batches}; nothing was sent, --apply sends them"
    else:
        yield f"replay {view.id} of {view.operator}: {view.state}{f' ({view.reason})' if view.reason else ''}"
        yield f"  {_counts_text(view)}; batches sent: {batches}"
    if view.duplicates:
        yield f"  {view.duplicates} were handled by the receiver before"
    if view.beyond_retention:
        yield f"  {view.beyond_retention} older than the receiver's deduplication window: each may take effect twice"
    for word, groups in (("not eligible", view.ineligible), ("refused", view.refused)):
        for group in groups:
            yield f"  {word}, {group.messages} message(s): {group.reason}"


def _counts_text(view: ReplayView) -> str:
    counts = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in view.counts.items())
    return f"{view.messages} message(s): {counts}" if counts else "no message"
