"""Terminal output of a chaos run: fault schedule, progress and verdict."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prebook.contracts.ride import BookingState
from prebook.devstack.terminal import PlainConsole
from prebook.lab.background import run_in_background
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.judge import ChaosVerdict
from prebook.lab.chaos.run import ChaosRun
from prebook.lab.chaos.schedule import ScheduledFault

REFRESH_INTERVAL_S = 0.5
PLAIN_INTERVAL_S = 10.0
MAX_NAMED = 10
"""Maximum number of violations that are printed one by one."""


def show_progress(run: ChaosRun, console: PlainConsole) -> AbstractAsyncContextManager[None]:
    """Return a context manager that shows the progress of ``run`` while its body runs."""
    return run_in_background(show_live(run, console) if console.is_terminal else print_progress(run, console))


async def show_live(run: ChaosRun, console: PlainConsole) -> None:
    """Redraw one line of progress every REFRESH_INTERVAL_S seconds until cancelled."""
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            screen.update(Text(progress_text(run)), refresh=True)
            await asyncio.sleep(REFRESH_INTERVAL_S)


async def print_progress(run: ChaosRun, console: PlainConsole) -> None:
    """Print a line of progress every PLAIN_INTERVAL_S seconds until cancelled."""
    while True:
        await asyncio.sleep(PLAIN_INTERVAL_S)
        console.print(progress_text(run), highlight=False, soft_wrap=True)


def progress_text(run: ChaosRun) -> str:
    """Return counts of rides, faults and duplicates so far, and the active faults, in one line."""
    accounts = run.reconciliation.accounts
    injector = run.injector
    phase = ", ".join(sorted(injector.active)) or ("waiting for open bookings" if run.settling else "no active fault")
    return (
        f"offered {run.generator.sent}/{run.options.bookings}, "
        f"accepted {sum(sample.accepted for sample in run.generator.samples)}, "
        f"settled {sum(account.settled for account in accounts)}, pending {run.reconciliation.pending}, "
        f"faults {len(injector.injected)}/{len(run.schedule)}, duplicates {run.duplicates.total}; {phase}"
    )


def schedule_table(schedule: Sequence[ScheduledFault], seed: int) -> Table:
    """Return start, duration and name of the scheduled faults."""
    table = Table(title=f"faults drawn with seed {seed}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("start", "duration", "fault"):
        table.add_column(head, justify="left" if head == "fault" else "right", no_wrap=True)
    for scheduled in schedule:
        name = f"{scheduled.name} (overlaps the previous fault)" if scheduled.overlaps else scheduled.name
        table.add_row(f"{scheduled.at_s:.1f} s", f"{scheduled.duration_s:.1f} s", name)
    return table


def verdict_view(verdict: ChaosVerdict, evidence: Evidence) -> Group:
    """Return the injected faults, the outcomes of the bookings and the violations, to be printed."""
    tables = [fault_table(evidence), outcome_table(verdict, evidence)]
    if verdict.result.ends:
        tables.append(end_table(verdict))
    return Group(*tables, violations_text(verdict))


def fault_table(evidence: Evidence) -> Table:
    """Return the injected faults with their effect and its evidence."""
    table = Table(title="injected faults", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("start", "duration", "fault", "effect", "evidence"):
        table.add_column(head, justify="right" if head in {"start", "duration"} else "left")
    for fault in evidence.faults:
        effect = Text("yes", style="green") if fault.took_effect else Text("NONE", style="bold red")
        table.add_row(f"{fault.at_s:.1f} s", f"{fault.duration_s:.1f} s", fault.name, effect, fault.evidence)
    return table


def outcome_table(verdict: ChaosVerdict, evidence: Evidence) -> Table:
    """Return the number of bookings by outcome and by violation."""
    result = verdict.result
    accounts = evidence.reconciliation.accounts
    table = Table(title="outcomes of the bookings", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    outcomes = {
        "offered": result.bookings,
        "accepted": len(evidence.reconciliation.rows),
        "settled": sum(account.settled for account in accounts),
        "confirmed": sum(account.outcome == "confirmed" for account in accounts),
        "cancelled": sum(row.state is BookingState.CANCELLED for row in evidence.reconciliation.rows),
    }
    violations = {
        "lost": result.lost,
        "stuck": result.stuck,
        "duplicated": result.duplicated,
        "misordered": result.misordered,
        "unexplained": result.unexplained,
    }
    heads = (*outcomes, *violations, "silent", "repeated", "callbacks", "duplicates", "worst gap", "parked")
    for head in heads:
        table.add_column(head, justify="right")
    violation_cells = [Text(str(count), style="bold red" if count else "green") for count in violations.values()]
    numbers = map(str, (result.silent, result.repetitions, result.callbacks, result.wire_duplicates))
    other_cells = (*numbers, f"{result.worst_gap_s:.1f} s", str(len(evidence.dead_letters)))
    table.add_row(*map(str, outcomes.values()), *violation_cells, *other_cells)
    return table


def end_table(verdict: ChaosVerdict) -> Table:
    """Return the accepted bookings that ended without an answer, by state and reason."""
    table = Table(title="accepted, and no answer", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("state", "reason", "bookings", "explained by a fault", "unexplained"):
        table.add_column(head, justify="left" if head in {"state", "reason"} else "right")
    for end in verdict.result.ends:
        unexplained = Text(str(end.unexplained), style="bold red" if end.unexplained else "green")
        table.add_row(end.state, end.reason, str(end.rides), str(end.rides - end.unexplained), unexplained)
    return table


def violations_text(verdict: ChaosVerdict) -> Text:
    """Return pass or fail with problems, the first violations and notes."""
    text = Text("passed\n" if verdict.ok else "FAILED\n", style="bold green" if verdict.ok else "bold red")
    for problem in verdict.problems:
        text.append(f"! {problem}\n", style="not bold red")
    for violation in verdict.violations[:MAX_NAMED]:
        text.append(f"  {violation.kind}: {violation.subject}: {violation.detail}\n", style="not bold")
    if len(verdict.violations) > MAX_NAMED:
        text.append(f"  and {len(verdict.violations) - MAX_NAMED} more\n", style="not bold")
    for note in verdict.notes:
        text.append(f"  {note}\n", style="not bold dim")
    return text
