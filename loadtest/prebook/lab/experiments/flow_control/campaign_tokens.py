"""Experiment: a campaign that admits a number of bookings in each window of time.

Source: Hohpe, "Your Coffee Shop Doesn't Use Two-Phase Commit"; SRE, Handling Overload.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import rich_click as click

from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.flow_control import customer_process
from prebook.lab.experiments.flow_control.customer_process import (
    CREATE_ADMISSION,
    CUSTOMERS,
    SERVICE,
    TABLE,
    CustomerSpec,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.site import PatternSite
from prebook.lab.experiments.patterns.size import LOSE_ONLY, defect_option

RIGHT = "one statement counts and decides"
WRONG = "read the count, then decide"
WINDOW_S = 1.0
PROCESSES = 2
NOT_MORE = "bookings admitted in a window beyond its quota = 0"
NOT_LESS = "tokens of complete windows that nobody has got = 0"
TOLD = "refusals without a time to return = 0"
SELECT_WINDOWS = f"""
    SELECT floor(extract(epoch FROM at) / $2::float)::bigint AS number, count(*) AS admitted
    FROM {TABLE} WHERE run = $1 GROUP BY 1 ORDER BY 1"""  # noqa: S608 - a table
DELETE_ADMISSION = f"""
    DELETE FROM {TABLE}
    WHERE ctid = (SELECT ctid FROM {TABLE} WHERE run = $1 ORDER BY at OFFSET $2 LIMIT 1)"""  # noqa: S608 - a table


class TokenSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: complete windows, tokens in each, and a defect to seed."""

    windows: int = 10
    quota: int = 40
    defect: SeededDefect = SeededDefect.NONE


@dataclass(frozen=True)
class TokenRun:
    """One arrangement. ``admitted``: number of bookings in each window, in the order of the windows."""

    quota: int
    admitted: Sequence[int]
    refused: int
    untold: int
    """Refusals without a time to return."""

    @property
    def complete(self) -> Sequence[int]:
        """Bookings in each window that began and ended while the customers were there."""
        return self.admitted[1:-1]


async def measure(run: ExperimentRun, size: TokenSize) -> Measurement:
    """Let many customers take tokens at the same time; count atomically, and with a decision after a read."""
    runs = {}
    async with PatternSite.open(run) as site:
        await site.database.execute(CREATE_ADMISSION)
        for arrangement in (RIGHT, WRONG):
            run.log(arrangement)
            runs[arrangement] = await _admit(site, arrangement, size)
    return Measurement(
        checks=[
            *token_checks(RIGHT, runs[RIGHT]),
            limit_check(WRONG, runs[WRONG], expected=LawVerdict.VIOLATED),
        ],
        tables=[_summary_table(runs), _window_table(runs)],
    )


def token_checks(arrangement: str, seen: TokenRun) -> Iterable[LawCheck]:
    """Yield the checks of the right way."""
    yield limit_check(arrangement, seen)
    unused = ("unused", sum(max(0, seen.quota - admitted) for admitted in seen.complete))
    yield check_law(NOT_LESS, arrangement, unused, Relation.EQUAL, ("", 0))
    yield check_law(TOLD, arrangement, ("untold", seen.untold), Relation.EQUAL, ("", 0))


def limit_check(arrangement: str, seen: TokenRun, *, expected: LawVerdict = LawVerdict.HELD) -> LawCheck:
    """Return the check that no window has admitted more than its quota."""
    beyond = ("beyond", sum(max(0, admitted - seen.quota) for admitted in seen.admitted))
    return check_law(NOT_MORE, arrangement, beyond, Relation.EQUAL, ("", 0), expected=expected)


async def _admit(site: PatternSite, arrangement: str, size: TokenSize) -> TokenRun:
    """Let the customers come for some windows, the incomplete ones at both ends included."""
    specs = [_spec(site, arrangement, number, size) for number in range(PROCESSES)]

    async def have_passed() -> bool:
        return len(await site.database.fetch(SELECT_WINDOWS, arrangement, WINDOW_S)) >= size.windows + 2

    async with site.processes(customer_process.run, *specs):
        await site.wait_until(have_passed, f"{arrangement}: the windows", specs)
    if size.defect is SeededDefect.LOSE and arrangement == RIGHT:
        await site.database.execute(DELETE_ADMISSION, arrangement, 2 * size.quota)
    rows = await site.database.fetch(SELECT_WINDOWS, arrangement, WINDOW_S)
    refusals = [wait for spec in specs for wait in spec.read_refusals()]
    return TokenRun(size.quota, [row["admitted"] for row in rows], len(refusals), Counter(refusals)[""])


def _spec(site: PatternSite, arrangement: str, number: int, size: TokenSize) -> CustomerSpec:
    context = site.run.testbed.context
    stem = context.work_dir / f"customers-{arrangement == RIGHT}-{number}"
    return CustomerSpec(
        run=arrangement,
        quota=size.quota,
        window_s=WINDOW_S,
        checks_first=arrangement == WRONG,
        refusals_path=f"{stem}.refusals",
        env=context.envs[SERVICE],
        ready_path=f"{stem}.ready",
        log_file=f"{stem}.log",
    )


def _summary_table(runs: Mapping[str, TokenRun]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Bookings of a campaign with a quota for each window",
        ("arrangement", "windows", "quota", "fewest in a complete window", "most in a window", "refused"),
        runs,
        lambda own: (
            len(own.admitted),
            own.quota,
            min(own.complete, default=0),
            max(own.admitted, default=0),
            f"{own.refused:,}",
        ),
        f"windows of {WINDOW_S:g} s; {PROCESSES} processes of {CUSTOMERS} customers each, who return at once",
    )


def _window_table(runs: Mapping[str, TokenRun]) -> ResultTable:
    longest = max(len(own.admitted) for own in runs.values())
    rows = [
        (str(number + 1), *(str(own.admitted[number]) if number < len(own.admitted) else "" for own in runs.values()))
        for number in range(longest)
    ]
    return ResultTable(
        title="Bookings admitted, window by window",
        columns=("window", *runs),
        rows=tuple(rows),
        caption="the first and the last window are not complete",
    )


CAMPAIGN_TOKENS = Experiment(
    name="campaign-tokens",
    section=Section.CONTROL_FLOW,
    claims=("E9", "E11"),
    pattern="Admission control by tokens per window (SRE, Handling Overload)",
    code="services/prebook/booking/load_shedding/campaign_tokens.py",
    claim="A campaign admits its quota in each window, exactly, however many customers come at the same time.",
    varies="whether one statement counts and decides, or a read comes before the decision",
    law=f"{NOT_MORE}; {NOT_LESS}; {TOLD}",
    wrong_way="customers who read the same count are all admitted, though it leaves one token",
    expected="Each complete window has its quota, neither more nor less; with a read before, some have more.",
    full=TokenSize(),
    quick=TokenSize(windows=2),
    options=(
        SizeOption("windows", click.IntRange(2, 120), "Number of complete windows."),
        SizeOption("quota", click.IntRange(5, 1_000), "Bookings that each window admits."),
        defect_option(LOSE_ONLY, "a token is taken without an admission"),
    ),
    measure=measure,
    worker_modules=(customer_process.__name__,),
)
