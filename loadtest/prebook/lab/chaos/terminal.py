"""What the person at the terminal sees of a chaos run: the schedule, how far it is, and the judgement."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prebook.contracts.booking import BookingState
from prebook.lab.background import run_in_background
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.judge import ChaosVerdict
from prebook.lab.chaos.run import ChaosRun
from prebook.lab.chaos.schedule import ScheduledFault

REFRESH_INTERVAL_S = 0.5
PLAIN_INTERVAL_S = 10.0
MAX_NAMED = 10
"""Findings that are printed one by one."""


def show_progress(run: ChaosRun, console: Console) -> AbstractAsyncContextManager[None]:
    """Shows progress while the body runs."""
    return run_in_background(show_live(run, console) if console.is_terminal else print_progress(run, console))


async def show_live(run: ChaosRun, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            screen.update(Text(progress_text(run)), refresh=True)
            await asyncio.sleep(REFRESH_INTERVAL_S)


async def print_progress(run: ChaosRun, console: Console) -> None:
    while True:
        await asyncio.sleep(PLAIN_INTERVAL_S)
        console.print(progress_text(run), highlight=False, soft_wrap=True)


def progress_text(run: ChaosRun) -> str:
    accounts = run.reconciliation.accounts
    broken = run.injector
    what = ", ".join(sorted(broken.active)) or ("coming to rest" if run.settling else "nothing broken")
    return (
        f"offered {run.generator.sent}/{run.options.bookings}, "
        f"accepted {sum(sample.accepted for sample in run.generator.samples)}, "
        f"settled {sum(account.settled for account in accounts)}, waiting {run.reconciliation.pending}, "
        f"faults {len(broken.injected)}/{len(run.schedule)}, came again {run.duplicates.total}; {what}"
    )


def schedule_table(schedule: Sequence[ScheduledFault], seed: int) -> Table:
    table = Table(title=f"faults, drawn from seed {seed}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("at", "for", "fault"):
        table.add_column(head, justify="left" if head == "fault" else "right", no_wrap=True)
    for planned in schedule:
        name = f"{planned.name} (beside the one before)" if planned.overlaps else planned.name
        table.add_row(f"{planned.at_s:.1f} s", f"{planned.duration_s:.1f} s", name)
    return table


def verdict_view(verdict: ChaosVerdict, evidence: Evidence) -> Group:
    return Group(fault_table(evidence), outcome_table(verdict, evidence), violations_text(verdict))


def fault_table(evidence: Evidence) -> Table:
    table = Table(title="what was broken", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("at", "lasted", "fault", "effect", "evidence"):
        table.add_column(head, justify="right" if head in {"at", "lasted"} else "left")
    for fault in evidence.faults:
        effect = Text("yes", style="green") if fault.took_effect else Text("NONE", style="bold red")
        table.add_row(f"{fault.at_s:.1f} s", f"{fault.duration_s:.1f} s", fault.name, effect, fault.evidence)
    return table


def outcome_table(verdict: ChaosVerdict, evidence: Evidence) -> Table:
    result = verdict.result
    accounts = evidence.reconciliation.accounts
    table = Table(title="what became of the bookings", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    fates = {
        "offered": result.bookings,
        "accepted": len(evidence.reconciliation.rows),
        "settled": sum(account.settled for account in accounts),
        "confirmed": sum(account.outcome == "confirmed" for account in accounts),
        "cancelled": sum(row.state is BookingState.CANCELLED for row in evidence.reconciliation.rows),
    }
    judged = {"lost": result.lost, "stuck": result.stuck, "doubled": result.doubled, "misordered": result.misordered}
    heads = (*fates, *judged, "came again", "worst gap", "parked")
    for head in heads:
        table.add_column(head, justify="right")
    red = [Text(str(count), style="bold red" if count else "green") for count in judged.values()]
    beside = (str(result.wire_duplicates), f"{result.worst_gap_s:.1f} s", str(len(evidence.dead_letters)))
    table.add_row(*map(str, fates.values()), *red, *beside)
    return table


def violations_text(verdict: ChaosVerdict) -> Text:
    text = Text("passed\n" if verdict.ok else "FAILED\n", style="bold green" if verdict.ok else "bold red")
    for line in verdict.problems:
        text.append(f"! {line}\n", style="not bold red")
    for finding in verdict.violations[:MAX_NAMED]:
        text.append(f"  {finding.kind}: {finding.subject}: {finding.detail}\n", style="not bold")
    if len(verdict.violations) > MAX_NAMED:
        text.append(f"  and {len(verdict.violations) - MAX_NAMED} more\n", style="not bold")
    for line in verdict.notes:
        text.append(f"  {line}\n", style="not bold dim")
    return text
