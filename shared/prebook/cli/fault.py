"""`prebook fault`: the catalogue of faults, by hand, on the suite that `prebook up` started."""

import sys
from collections.abc import Mapping

import rich_click as click

from prebook.cli import interruption, program
from prebook.cli.environments import loadtest
from prebook.cli.telling import Told, examples
from prebook.cli.whereabouts import running
from prebook.given import FiniteRange
from prebook.runtime import places
from prebook.runtime.stack.trouble import Trouble

EXAMPLES = examples(
    "prebook fault list",
    "prebook fault show broker_kill",
    "prebook fault inject pause_pricing --for 5",
)
LIST_EXAMPLES = examples("prebook fault list", "prebook fault list --json | jq '.[] | select(.why_not == \"\").name'")
SHOW_EXAMPLES = examples("prebook fault show connections_cut", "prebook fault show kill_pricing --json")
INJECT_EXAMPLES = examples(
    "prebook fault inject kill_matching --for 3",
    "prebook fault inject connections_cut --json | jq .evidence",
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")


@click.group(cls=Told, epilog=EXAMPLES)
def fault() -> None:
    """Break one thing of the running suite on purpose, for a time, and see that it was broken."""


@fault.command("list", epilog=LIST_EXAMPLES)
@as_json_option
def list_(*, as_json: bool) -> None:
    """Every fault: what to expect of it, and whether the running suite can be given it, or why not."""
    _loadtest("list", as_json=as_json, told=_if_running())


@fault.command(epilog=SHOW_EXAMPLES)
@click.argument("name")
@as_json_option
def show(*, name: str, as_json: bool) -> None:
    """All about one fault, NAME."""
    _loadtest("show", name, as_json=as_json, told=_if_running())


@fault.command(epilog=INJECT_EXAMPLES)
@click.argument("name")
@click.option("--for", "for_s", type=FiniteRange(min=0.1, max=300), help="Seconds. [default: the fault's own]")
@as_json_option
def inject(*, name: str, for_s: float | None, as_json: bool) -> None:
    """Break it now, wait, undo it, and print how we know that it was broken.

    Exit status 1 if it had no effect, or cannot be injected here.
    """
    lasting = () if for_s is None else ("--for", str(for_s))
    _loadtest("inject", name, *lasting, as_json=as_json, told=loadtest(running(places.home())))


def _if_running() -> Mapping[str, str]:
    """The catalogue can be read without a suite, too."""
    try:
        return loadtest(running(places.home()))
    except Trouble:
        return {}


def _loadtest(*arguments: str, as_json: bool, told: Mapping[str, str]) -> None:
    flags = ("--json",) if as_json else ()
    sys.exit(interruption.run(program.run(("fault", *arguments, *flags), told)))
