"""``python -m loadtest fault``: the catalogue by hand."""

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
from prebook.lab.faults.availability import Availability, survey
from prebook.lab.faults.fault_access import Levers, levers
from prebook.lab.faults.injection import inject as injected
from prebook.lab.faults.model import FaultKind, FaultWindow
from prebook.lab.suite_client.settings import WrongEnvironment

WIDE = 150
as_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as programs read it."""

    name: str
    kind: FaultKind
    target: str
    expect: str
    needs: tuple[str, ...]
    usual_for_s: float
    why_not: str
    """Empty where it can be injected here."""


@click.group
def fault() -> None:
    """Breaks one thing of a running suite for a time."""


@fault.command("list")
@as_json_option
def list_(*, as_json: bool) -> None:
    """The catalogue, and what of it can be injected here."""
    found = asyncio.run(_surveyed())
    if as_json:
        _print_json([line(each) for each in found])
    else:
        _console().print(table(found))


@fault.command
@click.argument("name")
@as_json_option
def show(*, name: str, as_json: bool) -> None:
    """All about one fault."""
    told = line(_chosen(name, asyncio.run(_surveyed())))
    if as_json:
        _print_json(told)
    else:
        for field, value in msgspec.to_builtins(told).items():
            text = ", ".join(value) if isinstance(value, (list, tuple)) else value
            click.echo(f"{field:<12} {text}")


@fault.command
@click.argument("name")
@click.option("--for", "for_s", type=FiniteRange(min=0.1, max=300), help="Seconds. [default: the fault's own]")
@as_json_option
def inject(*, name: str, for_s: float | None, as_json: bool) -> None:
    """Exit status 1 if it had no effect or cannot be injected here."""
    window = asyncio.run(_injected(name, for_s))
    if as_json:
        _print_json({"name": name, **msgspec.to_builtins(window)})
    else:
        lasted = (window.ended_at - window.started_at).total_seconds()
        click.echo(
            f"{name}: {'took effect' if window.took_effect else 'NO EFFECT'} in {lasted:.1f} s: {window.evidence}"
        )
    sys.exit(0 if window.took_effect else 1)


async def _surveyed() -> Sequence[Availability]:
    async with aiohttp.ClientSession() as session:
        return await survey(_levers(session))


async def _injected(name: str, for_s: float | None) -> FaultWindow:
    async with aiohttp.ClientSession() as session:
        reached = _levers(session)
        chosen = _chosen(name, await survey(reached))
        if chosen.why_not:
            raise click.ClickException(f"{name} cannot be injected here: {chosen.why_not}; see `prebook fault list`")
        return await injected(chosen.fault, for_s or chosen.fault.usual_for_s, reached)


def _levers(session: aiohttp.ClientSession) -> Levers:
    try:
        return levers(session, os.environ)
    except WrongEnvironment as wrong:
        raise click.ClickException(str(wrong)) from None


def _chosen(name: str, found: Sequence[Availability]) -> Availability:
    for each in found:
        if each.fault.name == name:
            return each
    raise click.ClickException(f"there is no fault {name!r}; `prebook fault list` shows all")


def line(each: Availability) -> Line:
    about = each.fault
    return Line(
        name=about.name,
        kind=about.kind,
        target=about.target,
        expect=about.expect,
        needs=tuple(sorted(about.needs)),
        usual_for_s=about.usual_for_s,
        why_not=each.why_not,
    )


def table(found: Sequence[Availability]) -> Table:
    here = sum(not each.why_not for each in found)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, caption=f"{here} of {len(found)} can be injected here")
    shown.add_column("fault", no_wrap=True)
    shown.add_column("what to expect")
    shown.add_column("here", max_width=40)
    for each in found:
        shown.add_row(each.fault.name, each.fault.expect, each.why_not or "yes")
    return shown


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDE)


def _print_json(told: object) -> None:
    click.echo(msgspec.json.encode(told).decode())
