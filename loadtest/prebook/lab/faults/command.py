"""``python -m prebook.lab fault``: the catalogue by hand."""

import asyncio
import os
import sys
from collections.abc import Sequence

import aiohttp
import msgspec
import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from prebook.devstack.parameters import FiniteRange
from prebook.lab.faults.availability import FaultAvailability, survey_faults
from prebook.lab.faults.fault_access import FaultAccess, read_fault_access
from prebook.lab.faults.injection import inject as inject_fault
from prebook.lab.faults.model import FaultKind, FaultWindow
from prebook.lab.suite_client.settings import InvalidEnvironment

CONSOLE_WIDTH = 150
as_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


class FaultEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as programs read it."""

    name: str
    kind: FaultKind
    target: str
    expectation: str
    needs: tuple[str, ...]
    default_duration_s: float
    unavailable_reason: str
    """Empty where it can be injected here."""


@click.group
def fault() -> None:
    """Breaks one thing of a running suite for a time."""


@fault.command("list")
@as_json_option
def list_(*, as_json: bool) -> None:
    """The catalogue, and what of it can be injected here."""
    found = asyncio.run(_survey())
    if as_json:
        _print_json([fault_entry(each) for each in found])
    else:
        _console().print(fault_table(found))


@fault.command
@click.argument("name")
@as_json_option
def show(*, name: str, as_json: bool) -> None:
    """All about one fault."""
    told = fault_entry(_find_fault(name, asyncio.run(_survey())))
    if as_json:
        _print_json(told)
    else:
        for field, value in msgspec.to_builtins(told).items():
            text = ", ".join(value) if isinstance(value, (list, tuple)) else value
            click.echo(f"{field:<18} {text}")


@fault.command
@click.argument("name")
@click.option("--for", "duration_s", type=FiniteRange(min=0.1, max=300), help="Seconds. [default: the fault's own]")
@as_json_option
def inject(*, name: str, duration_s: float | None, as_json: bool) -> None:
    """Exit status 1 if it had no effect or cannot be injected here."""
    window = asyncio.run(_inject_by_name(name, duration_s))
    if as_json:
        _print_json({"name": name, **msgspec.to_builtins(window)})
    else:
        lasted = (window.ended_at - window.started_at).total_seconds()
        click.echo(
            f"{name}: {'took effect' if window.took_effect else 'NO EFFECT'} in {lasted:.1f} s: {window.evidence}"
        )
    sys.exit(0 if window.took_effect else 1)


async def _survey() -> Sequence[FaultAvailability]:
    async with aiohttp.ClientSession() as session:
        return await survey_faults(_read_access(session))


async def _inject_by_name(name: str, duration_s: float | None) -> FaultWindow:
    async with aiohttp.ClientSession() as session:
        reached = _read_access(session)
        chosen = _find_fault(name, await survey_faults(reached))
        if chosen.unavailable_reason:
            raise click.ClickException(
                f"{name} cannot be injected here: {chosen.unavailable_reason}; see `prebook fault list`"
            )
        return await inject_fault(chosen.fault, duration_s or chosen.fault.default_duration_s, reached)


def _read_access(session: aiohttp.ClientSession) -> FaultAccess:
    try:
        return read_fault_access(session, os.environ)
    except InvalidEnvironment as wrong:
        raise click.ClickException(str(wrong)) from None


def _find_fault(name: str, found: Sequence[FaultAvailability]) -> FaultAvailability:
    for each in found:
        if each.fault.name == name:
            return each
    raise click.ClickException(f"there is no fault {name!r}; `prebook fault list` shows all")


def fault_entry(availability: FaultAvailability) -> FaultEntry:
    about = availability.fault
    return FaultEntry(
        name=about.name,
        kind=about.kind,
        target=about.target,
        expectation=about.expectation,
        needs=tuple(sorted(about.needs)),
        default_duration_s=about.default_duration_s,
        unavailable_reason=availability.unavailable_reason,
    )


def fault_table(found: Sequence[FaultAvailability]) -> Table:
    here = sum(not each.unavailable_reason for each in found)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, caption=f"{here} of {len(found)} can be injected here")
    shown.add_column("fault", no_wrap=True)
    shown.add_column("what to expect")
    shown.add_column("here", max_width=40)
    for each in found:
        shown.add_row(each.fault.name, each.fault.expectation, each.unavailable_reason or "yes")
    return shown


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else CONSOLE_WIDTH)


def _print_json(value: object) -> None:
    click.echo(msgspec.json.encode(value).decode())
