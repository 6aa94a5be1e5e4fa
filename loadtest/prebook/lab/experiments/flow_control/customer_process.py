"""Process of impatient customers: each takes campaign tokens, one after the other, until the windows have passed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
from sqlalchemy import text

from prebook.booking.load_shedding.campaign_tokens import CampaignTokens
from prebook.booking.sql.work import BookingSql
from prebook.http.problems import Problem
from prebook.lab.experiments import worker
from prebook.lab.experiments.worker import ReadinessFile, WorkerContext
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory

SERVICE = "booking"
CUSTOMERS = 8
"""Customers of one process, who ask at the same time."""
PAUSE_S = 0.02
"""Pause of a refused customer, who ignores the time to return: the worst case for the limit."""
TABLE = f"{SERVICE}.admission"
CREATE_ADMISSION = f"CREATE TABLE {TABLE} (run text, at timestamptz NOT NULL DEFAULT now())"
INSERT_ADMISSION = text("INSERT INTO admission (run) VALUES (:run)")
READ_TAKEN = text("""
    SELECT coalesce(max(tokens_taken), 0) FROM token_window
    WHERE campaign = :campaign
        AND started_at = to_timestamp(floor(extract(epoch FROM now()) / :window_s) * :window_s)""")
COUNT_TAKEN = text("""
    INSERT INTO token_window (campaign, started_at, tokens_taken)
    VALUES (:campaign, to_timestamp(floor(extract(epoch FROM now()) / :window_s) * :window_s), 1)
    ON CONFLICT (campaign, started_at) DO UPDATE SET tokens_taken = token_window.tokens_taken + 1""")


class CustomerSpec(ReadinessFile, msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of one process.

    ``run``: name of the admissions, and of the campaign. ``checks_first``: count the tokens before the decision, as a
    service without an atomic counter does. ``refusals_path``: file for the seconds to wait of each refusal, one line
    each, empty if the refusal has none.
    """

    run: str
    quota: int
    window_s: float
    checks_first: bool
    refusals_path: str
    env: Mapping[str, str]
    ready_path: str
    log_file: str

    def __repr__(self) -> str:
        return "CustomerSpec(<not printed: it holds secrets>)"

    def read_refusals(self) -> list[str]:
        """Return the seconds to wait of each refusal so far."""
        return Path(self.refusals_path).read_text().splitlines()


class AdmissionWork(BookingSql):
    """Unit of work that stores what a token admits, in the window of its transaction."""

    async def insert_admission(self, run: str) -> None:
        """Insert one admission."""
        await self.connection.execute(INSERT_ADMISSION, {"run": run})


class CheckFirstWork(AdmissionWork):
    """Unit of work that reads the count, decides, and counts: two of them may decide by the same count."""

    async def take_token(self, campaign: str, max_tokens: int, window_s: float) -> float | None:
        """Take a token if the count allows it. Returns None, or the seconds until the next window, at most."""
        values = {"campaign": campaign, "window_s": window_s}
        if (await self.connection.execute(READ_TAKEN, values)).scalar_one() >= max_tokens:
            return window_s
        await self.connection.execute(COUNT_TAKEN, values)
        return None


class Customers:
    """Customers of one process."""

    def __init__(self, context: WorkerContext, spec: CustomerSpec) -> None:
        self._spec = spec
        settings = msgspec.structs.replace(
            context.settings, campaign=spec.run, campaign_tokens=spec.quota, campaign_window_s=spec.window_s
        )
        self._tokens = CampaignTokens(settings)
        engine = create_engine(SERVICE, context.settings.database_url)
        self._begin = unit_of_work_factory(engine, CheckFirstWork if spec.checks_first else AdmissionWork)
        self._refusals = Path(spec.refusals_path).open("w", buffering=1)  # noqa: SIM115 - open until the process is killed

    async def run(self) -> None:
        """Take tokens until the process is killed."""
        self._spec.mark_ready()
        await asyncio.gather(*(self._be_customer(number) for number in range(CUSTOMERS)))

    async def _be_customer(self, number: int) -> None:
        while True:
            try:
                async with self._begin() as work:
                    await work.insert_admission(self._spec.run)
                    await self._tokens.take(work, number)
            except Problem as refusal:
                self._refusals.write(f"{refusal.headers.get('retry-after', '')}\n")
                await asyncio.sleep(PAUSE_S)


def run(spec: CustomerSpec) -> None:
    """Entry point of the process."""
    worker.run_worker(SERVICE, spec, lambda context: Customers(context, spec).run(), timeout_s=300.0)
