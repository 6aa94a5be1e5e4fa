"""`prebook parking replay|status|cancel`."""

import sys
import time
from collections.abc import Iterable

import msgspec
import rich_click as click

from prebook.cli.parking.operations_client import asked
from prebook.cli.parking.selection import as_json_option, selected, selection
from prebook.contracts.replays import ItemState, ReplayPage, ReplayRequest, ReplayState, ReplayView
from prebook.devstack.command_line import examples, say
from prebook.devstack.parameters import FiniteRange

LOOK_EVERY_S = 0.5


@click.command(
    epilog=examples(
        "prebook parking replay 17                        says what it would do",
        "prebook parking replay 17 --go --wait",
        "prebook parking replay --cause attempts_used_up --go --rate 20",
    )
)
@selection
@click.option("--go", is_flag=True, help="Do it; without this nothing is sent.")
@click.option("--rate", type=FiniteRange(0.01, 1000), help="Messages a second; else batches of 1, 2, 5, 20, ...")
@click.option("--keep-going", is_flag=True, help="Do not stop when the same cause comes back.")
@click.option("--force", is_flag=True, help="Also what is too old for the receiver's inbox to know whether it had it.")
@click.option("--wait", is_flag=True, help="Until it has ended; exit status 1 unless every message is resolved.")
@as_json_option
def replay(
    *,
    ids: tuple[int, ...],
    everything: bool,
    go: bool,
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
        selection=selected(ids, everything, given),
        dry_run=not go,
        rate_per_s=rate,
        keep_going=keep_going,
        force=force,
    )
    view = asked(ReplayView, "POST", "/v1/replays", request)
    if go and wait:
        view = _followed(view)
    _print(view, as_json)
    if go and wait:
        sys.exit(0 if view.counts == {ItemState.RESOLVED: view.messages} else 1)


@click.command(epilog=examples("prebook parking status", "prebook parking status 9b2f00c1d3e4 --json"))
@click.argument("replay_id", required=False)
@as_json_option
def status(*, replay_id: str | None, as_json: bool) -> None:
    """How far a replay is; without an id, the newest hundred."""
    if replay_id:
        return _print(asked(ReplayView, "GET", f"/v1/replays/{replay_id}"), as_json)
    page = asked(ReplayPage, "GET", "/v1/replays")
    lines = (f"{r.id}  {r.state:<9}  {r.created_at.isoformat(timespec='seconds')}  {_counts(r)}" for r in page.replays)
    return click.echo(msgspec.json.encode(page) if as_json else "\n".join(lines) or "there was no replay yet")


@click.command(epilog=examples("prebook parking cancel 9b2f00c1d3e4"))
@click.argument("replay_id")
@as_json_option
def cancel(*, replay_id: str, as_json: bool) -> None:
    """Send nothing more of a replay. What is in flight is waited for."""
    _print(asked(ReplayView, "DELETE", f"/v1/replays/{replay_id}"), as_json)


COMMANDS = (replay, status, cancel)


def _followed(view: ReplayView) -> ReplayView:
    before = ""
    while view.state in {ReplayState.RUNNING, ReplayState.DRAINING}:
        if (now := _counts(view)) != before:
            say(f"{view.id}: {now}")
            before = now
        time.sleep(LOOK_EVERY_S)
        view = asked(ReplayView, "GET", f"/v1/replays/{view.id}")
    return view


def _print(view: ReplayView, as_json: bool) -> None:
    click.echo(msgspec.json.encode(view) if as_json else "\n".join(_told(view)))


def _told(view: ReplayView) -> Iterable[str]:
    batches = ", ".join(map(str, view.batches)) or "none yet"
    if view.state is ReplayState.DRY_RUN and not view.messages:
        yield "would send nothing"
    elif view.state is ReplayState.DRY_RUN:
        yield f"would send {view.messages} message(s) in batches of {batches}; nothing was sent, --go sends them"
    else:
        yield f"replay {view.id}: {view.state}{f' ({view.reason})' if view.reason else ''}"
        yield f"  {_counts(view)}; batches sent: {batches}"
    if view.duplicates:
        yield f"  {view.duplicates} had been admitted by the receiver before"
    if view.beyond_retention:
        yield f"  {view.beyond_retention} too old for the receiver's inbox: each may have its effect twice"
    for refusal in view.refused:
        yield f"  not taken, {refusal.messages} message(s): {refusal.reason}"


def _counts(view: ReplayView) -> str:
    told = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in view.counts.items())
    return f"{view.messages} message(s): {told}" if told else "no message"
