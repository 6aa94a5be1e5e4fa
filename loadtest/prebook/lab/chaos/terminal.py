"""What the person at the terminal sees of a chaos run: the schedule, how far it is, and the judgement."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prebook.contracts.booking import State
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.judge import Judgement
from prebook.lab.chaos.run import Run
from prebook.lab.chaos.schedule import Planned
from prebook.lab.exit_status import beside

REFRESH_S, PLAIN_LINE_S = 0.5, 10.0
NAMED = 10
"""Findings that are printed one by one."""


def shown(run: Run, console: Console) -> AbstractAsyncContextManager[None]:
    """Shows progress while the body runs."""
    return beside(live(run, console) if console.is_terminal else plain(run, console))


async def live(run: Run, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            screen.update(Text(standing(run)), refresh=True)
            await asyncio.sleep(REFRESH_S)


async def plain(run: Run, console: Console) -> None:
    while True:
        await asyncio.sleep(PLAIN_LINE_S)
        console.print(standing(run), highlight=False, soft_wrap=True)


def standing(run: Run) -> str:
    accounts, broken = run.books.accounts, run.breaking
    what = ", ".join(sorted(broken.now)) or ("coming to rest" if run.settling else "nothing broken")
    return (
        f"offered {run.generator.sent}/{run.terms.bookings}, "
        f"accepted {sum(sample.accepted for sample in run.generator.samples)}, "
        f"settled {sum(account.settled for account in accounts)}, waiting {run.books.waiting}, "
        f"faults {len(broken.broken)}/{len(run.plan)}, came again {run.duplicates.total}; {what}"
    )


def schedule(plan: Sequence[Planned], seed: int) -> Table:
    table = Table(title=f"faults, drawn from seed {seed}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("at", "for", "fault"):
        table.add_column(head, justify="left" if head == "fault" else "right", no_wrap=True)
    for planned in plan:
        name = f"{planned.name} (beside the one before)" if planned.beside else planned.name
        table.add_row(f"{planned.at_s:.1f} s", f"{planned.for_s:.1f} s", name)
    return table


def judgement(verdict: Judgement, evidence: Evidence) -> Group:
    return Group(faults(evidence), counts(verdict, evidence), words(verdict))


def faults(evidence: Evidence) -> Table:
    table = Table(title="what was broken", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("at", "lasted", "fault", "effect", "evidence"):
        table.add_column(head, justify="right" if head in {"at", "lasted"} else "left")
    for fault in evidence.faults:
        effect = Text("yes", style="green") if fault.took_effect else Text("NONE", style="bold red")
        table.add_row(f"{fault.at_s:.1f} s", f"{fault.lasted_s:.1f} s", fault.name, effect, fault.evidence)
    return table


def counts(verdict: Judgement, evidence: Evidence) -> Table:
    result, accounts = verdict.result, evidence.books.accounts
    table = Table(title="what became of the bookings", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    fates = {
        "offered": result.bookings,
        "accepted": len(evidence.books.rows),
        "settled": sum(account.settled for account in accounts),
        "confirmed": sum(account.fate == "confirmed" for account in accounts),
        "cancelled": sum(row.state is State.CANCELLED for row in evidence.books.rows),
    }
    judged = {"lost": result.lost, "stuck": result.stuck, "doubled": result.doubled, "misordered": result.misordered}
    heads = (*fates, *judged, "came again", "worst gap", "parked")
    for head in heads:
        table.add_column(head, justify="right")
    red = [Text(str(count), style="bold red" if count else "green") for count in judged.values()]
    beside = (str(result.wire_duplicates), f"{result.worst_gap_s:.1f} s", str(len(evidence.parked)))
    table.add_row(*map(str, fates.values()), *red, *beside)
    return table


def words(verdict: Judgement) -> Text:
    text = Text("passed\n" if verdict.ok else "FAILED\n", style="bold green" if verdict.ok else "bold red")
    for line in verdict.problems:
        text.append(f"! {line}\n", style="not bold red")
    for finding in verdict.findings[:NAMED]:
        text.append(f"  {finding.breach}: {finding.booking}: {finding.detail}\n", style="not bold")
    if len(verdict.findings) > NAMED:
        text.append(f"  and {len(verdict.findings) - NAMED} more\n", style="not bold")
    for line in verdict.notes:
        text.append(f"  {line}\n", style="not bold dim")
    return text
