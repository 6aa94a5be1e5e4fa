"""`prebook fault`: the catalogue of faults, and single injections."""

import os
import sys
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from prebook.devstack.command_line import examples, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.lab_process import find_lab_environment
from prebook.devstack.parameters import FiniteRange, json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.faults.availability import FaultAvailability, survey_faults
from prebook.lab.faults.fault_access import read_fault_access
from prebook.lab.faults.injection import inject as inject_fault
from prebook.lab.faults.model import FaultKind, FaultWindow

CONSOLE_WIDTH = 150
EXAMPLES = examples(
    "prebook fault list",
    "prebook fault show broker_kill",
    "prebook fault inject pause_pricing --for 5",
)
LIST_EXAMPLES = examples(
    "prebook fault list", "prebook fault list --json | jq '.[] | select(.unavailable_reason == \"\").name'"
)
SHOW_EXAMPLES = examples("prebook fault show connections_cut", "prebook fault show kill_pricing --json")
INJECT_EXAMPLES = examples(
    "prebook fault inject kill_matching --for 3",
    "prebook fault inject connections_cut --json | jq .evidence",
)


class FaultEntry(msgspec.Struct, frozen=True, kw_only=True):
    """JSON form of a fault and its availability, as `prebook fault --json` prints it."""

    name: str
    kind: FaultKind
    target: str
    expectation: str
    needs: tuple[str, ...]
    default_duration_s: float
    unavailable_reason: str
    """Reason why the fault cannot be injected; empty if it can."""


@click.group(epilog=EXAMPLES)
def fault() -> None:
    """Inject one fault into the running suite for a time, and verify that it took effect."""


@fault.command("list", epilog=LIST_EXAMPLES)
@json_option()
def list_(*, as_json: bool) -> None:
    """List every fault with its expected effect and whether it can be injected into the running suite."""
    availabilities = run_interruptible(_survey())
    if as_json:
        _print_json([fault_entry(availability) for availability in availabilities])
    else:
        _console().print(fault_table(availabilities))


@fault.command(epilog=SHOW_EXAMPLES)
@click.argument("name")
@json_option()
def show(*, name: str, as_json: bool) -> None:
    """Print all details of the fault NAME."""
    entry = fault_entry(_find_fault(name, run_interruptible(_survey())))
    if as_json:
        _print_json(entry)
    else:
        for field, value in msgspec.to_builtins(entry).items():
            text = ", ".join(value) if isinstance(value, (list, tuple)) else value
            echo(f"{field:<18} {text}")


@fault.command(epilog=INJECT_EXAMPLES)
@click.argument("name")
@click.option(
    "--for",
    "duration_s",
    type=FiniteRange(min=0.1, max=300),
    help="Duration in seconds. [default: that of the catalogue]",
)
@json_option()
def inject(*, name: str, duration_s: float | None, as_json: bool) -> None:
    """Inject the fault NAME, wait, undo it, and print the evidence that it took effect.

    A fault takes seconds, but crashing_poison takes up to two minutes: it lasts until its message is parked.

    Exit status 1 if the fault had no effect or cannot be injected into this suite.
    """
    window = run_interruptible(_inject_by_name(name, duration_s))
    if as_json:
        _print_json({"name": name, **msgspec.to_builtins(window)})
    else:
        lasted_s = (window.ended_at - window.started_at).total_seconds()
        effect = "took effect" if window.took_effect else "NO EFFECT"
        echo(f"{name}: {effect} in {lasted_s:.1f} s: {window.evidence}")
    sys.exit(0 if window.took_effect else 1)


async def _survey() -> Sequence[FaultAvailability]:
    environment, _ = _find_environment()
    async with aiohttp.ClientSession() as session:
        return await survey_faults(read_fault_access(session, environment))


async def _inject_by_name(name: str, duration_s: float | None) -> FaultWindow:
    environment, no_suite_reason = _find_environment()
    async with aiohttp.ClientSession() as session:
        access = read_fault_access(session, environment)
        chosen = _find_fault(name, await survey_faults(access))
        if chosen.unavailable_reason:
            reason = no_suite_reason or chosen.unavailable_reason
            raise UserError(f"{name} cannot be injected into this suite: {reason}", "see `prebook fault list`")
        return await inject_fault(chosen.fault, duration_s or chosen.fault.default_duration_s, access)


def _find_environment() -> tuple[Mapping[str, str], str]:
    """Return the variables that address a suite, and an empty text.

    Without a suite, return this process's variables and the reason: the catalogue is readable all the same.
    """
    try:
        return find_lab_environment(), ""
    except UserError as error:
        return os.environ, f"{error.problem}; {error.remedy}"


def _find_fault(name: str, availabilities: Sequence[FaultAvailability]) -> FaultAvailability:
    for availability in availabilities:
        if availability.fault.name == name:
            return availability
    raise UserError(f"there is no fault {name!r}", "`prebook fault list` lists all")


def fault_entry(availability: FaultAvailability) -> FaultEntry:
    """Return the JSON form of a fault and its availability."""
    entry = availability.fault
    return FaultEntry(
        name=entry.name,
        kind=entry.kind,
        target=entry.target,
        expectation=entry.expectation,
        needs=tuple(sorted(entry.needs)),
        default_duration_s=entry.default_duration_s,
        unavailable_reason=availability.unavailable_reason,
    )


def fault_table(availabilities: Sequence[FaultAvailability]) -> Table:
    """Return a table of all faults with their expected effect and availability."""
    available = sum(not entry.unavailable_reason for entry in availabilities)
    caption = f"{available} of {len(availabilities)} can be injected into this suite"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=caption)
    table.add_column("fault", no_wrap=True)
    table.add_column("expected effect")
    table.add_column("available", max_width=40)
    for entry in availabilities:
        table.add_row(entry.fault.name, entry.fault.expectation, entry.unavailable_reason or "yes")
    return table


def _console() -> PlainConsole:
    return PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH)


def _print_json(value: object) -> None:
    echo(msgspec.json.encode(value))
