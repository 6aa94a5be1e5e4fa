"""Runs of the judge on suites with a seeded defect, and what each run must find."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from prebook.lab.chaos.judge import ChaosResult, FoundViolation
from tests.integration.suite import PREBOOK, run_command

HERE = Path(__file__).parent
BOOKINGS = 120
TIMEOUT_S = 280.0
SETTLE_TIMEOUT_S = 80
"""Seconds; longer than the deadlines in couplings.toml."""
CONTROL_SETTLE_TIMEOUT_S = 150
"""Seconds for a run in which nothing is lost."""


@dataclass(frozen=True)
class Defect:
    """A seeded defect, by its name in ``seeds``, and what the judge must print about it.

    ``kind``: kind of the violation; ``finds``: pattern of its detail, which no other defect of the same run causes.
    """

    name: str
    kind: str
    finds: str


@dataclass(frozen=True)
class JudgeRun:
    """A chaos run on a suite with ``defects``; without any, it must pass.

    ``faults`` and ``seed`` draw the schedule; with one fault, every message comes twice for some seconds.
    """

    name: str
    defects: Sequence[Defect] = ()
    also_seeded: Sequence[str] = ()
    """Seeds that are no defects."""
    faults: int = 1
    seed: int = 7


@dataclass(frozen=True)
class Verdict:
    """Output of a run: its exit status, the violations of the printed result, and the text on stderr."""

    status: int
    violations: Sequence[FoundViolation]
    output: str

    def find(self, defect: Defect) -> Sequence[FoundViolation]:
        """Return the violations for which ``defect`` has failed the run; none if the judge has missed it."""
        return [
            found
            for found in self.violations
            if self.status == 1 and found.kind == defect.kind and re.search(defect.finds, found.detail)
        ]


def single(name: str, kind: str, finds: str, *, faults: int = 1, seed: int = 7) -> JudgeRun:
    """Return a run with one defect."""
    return JudgeRun(name, (Defect(name, kind, finds),), faults=faults, seed=seed)


FIRST_ATTEMPTS_FAIL = "messaging.first_attempts_fail"
CONTROLS = (JudgeRun("no defect"), JudgeRun("only first attempts fail", also_seeded=(FIRST_ATTEMPTS_FAIL,)))
SINGLE_RUNS = (
    single("messaging.dropped_after_acknowledgement", "lost", "has not received"),
    single("messaging.acknowledged_before_commit", "lost", "has not received"),
    single("messaging.confirms_not_awaited", "lost", "has not received", faults=2, seed=2),
    single("messaging.no_inbox", "lost", "has not received"),
    single("messaging.inbox_without_effect", "unexplained", r"^expired \(no (fare|driver): deadline"),
    single("messaging.accepted_request_dropped", "unexplained", r"^expired \(no (fare|driver): deadline"),
    single("messaging.request_lost", "lost", "has not received"),
    single("messaging.reply_lost", "unexplained", r"^expired \(no (fare|driver): deadline"),
    single("messaging.event_lost", "lost", "keeps driver none|has not received|got no verdict"),
    single("messaging.order_swapped", "misordered", "before an earlier message"),
    single("messaging.stuck_without_deadline", "stuck", "still"),
    single("messaging.deadline_too_early", "unexplained", r"^expired \(no (fare|driver): deadline"),
    single("messaging.abandoned_at_first_failure", "lost", "will never send"),
    single("messaging.parked_at_first_failure", "unexplained", r"^expired \(no (fare|driver): deadline"),
    single("booking.wrong_id_in_response", "contradictory", "the response names booking"),
    single("booking.wrong_fare_in_response", "contradictory", "names a fare of"),
    single("booking.wrong_state_in_response", "contradictory", "a response .*names the state"),
)
GROUPED_RUNS = (
    JudgeRun(
        "responses",
        (
            Defect("booking.error_for_a_booking_made", "contradictory", "answered with (status )?500"),
            Defect("booking.refused_and_booked", "contradictory", "refused with status 503, yet"),
            Defect("booking.accepted_and_not_stored", "lost", "booking has no row with its key"),
            Defect("booking.cancellation_without_effect", "contradictory", "a cancellation was answered with 200"),
            Defect("booking.state_skipped", "misordered", "confirmed came after priced"),
            Defect("booking.callback_unsigned", "contradictory", "a callback is not signed"),
            Defect("pricing.phantom_effect", "contradictory", "there is no such booking"),
            Defect("notification.notified_twice", "duplicated", "the rider was notified of"),
        ),
    ),
    JudgeRun(
        "keys",
        (
            Defect("booking.no_response", "unexplained", "the request got no response"),
            Defect("booking.key_with_another_body_accepted", "contradictory", "a used key with another body"),
            Defect("booking.cancellation_refused", "contradictory", "a cancellation was answered with 409"),
            Defect("booking.another_driver", "lost", "-other; matching keeps driver"),
            Defect("booking.callback_missing", "lost", "no callback told"),
            Defect("pricing.fare_depends_on_the_coupling", "contradictory", "for the same ride"),
            Defect("notification.never_notified", "lost", "never notified"),
        ),
    ),
    JudgeRun(
        "effects",
        (
            Defect("booking.two_rows_for_one_key", "duplicated", "bookings with one key"),
            Defect("booking.cancelled_by_nobody", "contradictory", "its rider has not asked"),
            Defect("booking.callback_twice", "duplicated", "callbacks with ids of their own"),
            Defect("pricing.discount_kept_after_the_end", "duplicated", "its discount is still granted"),
        ),
    ),
    JudgeRun(
        "returns",
        (
            Defect("booking.callback_with_wrong_sequence", "contradictory", "with sequence 1 instead of"),
            Defect("pricing.campaign_counter_not_returned", "duplicated", "pricing counts"),
            Defect("fleets.reservation_not_released", "lost", "got no verdict|not confirmed, but fleets keeps"),
        ),
    ),
    JudgeRun(
        "order",
        (
            Defect("notification.notices_out_of_order", "misordered", "notices cancelled, confirmed"),
            Defect("booking.callback_out_of_order", "misordered", "a callback about confirmed came after"),
            Defect("matching.verdict_not_sent", "lost", "fleets keeps driver none|got no verdict"),
        ),
    ),
)
JUDGE_RUNS = (*SINGLE_RUNS, *GROUPED_RUNS)


def run_judge(run: JudgeRun, home: Path) -> Verdict:
    """Run `prebook chaos` on a suite of its own, whose services have the defects of ``run``.

    A run without a defect has the shipped policies, so that no ride expires on a slow machine.
    """
    env = {
        **os.environ,
        "PREBOOK_HOME": str(home),
        "TMPDIR": str(home),
        "PREBOOK_COUPLINGS": str(HERE / "couplings.toml"),
        "PYTHONPATH": str(HERE / "site"),
        "SEEDED_DEFECTS": ",".join([*(defect.name for defect in run.defects), *run.also_seeded]),
    }
    if not run.defects:
        del env["PREBOOK_COUPLINGS"]
    settle_timeout_s = SETTLE_TIMEOUT_S if run.defects else CONTROL_SETTLE_TIMEOUT_S
    options = {"bookings": BOOKINGS, "faults": run.faults, "seed": run.seed, "settle-timeout": settle_timeout_s}
    arguments = (f"--{name}={value}" for name, value in options.items())
    done = run_command([*PREBOOK, "chaos", "--json", *arguments], env, timeout_s=TIMEOUT_S)
    result = msgspec.json.decode(done.stdout, type=ChaosResult) if done.stdout else None
    return Verdict(done.returncode, result.violations if result else (), done.stderr)
