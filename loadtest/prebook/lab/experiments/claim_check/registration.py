"""Registration of the experiment: routes with claim checks, parked and replayed, while processes are killed."""

import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec
import rich_click as click

from prebook.asyncio_tools import first_error_task_group
from prebook.contracts.dead_letters import DeadLetterSelection
from prebook.contracts.replays import ReplayRequest, ReplayView
from prebook.devstack.servers import Log
from prebook.flows import OPERATIONS, ROUTE_PLANNED
from prebook.lab.bench.suite import BenchSuite, start_suite
from prebook.lab.bench.testbed import wait_until
from prebook.lab.experiments.claim_check.broker_bytes import count_bytes
from prebook.lab.experiments.claim_check.claim_store_probe import ClaimStoreProbe
from prebook.lab.experiments.claim_check.laws import (
    BALANCE,
    CHEAPER,
    COMPUTED,
    NO_ORPHANS,
    RECEIVED,
    TOO_SHORT,
    BodiesSeen,
    body_checks,
    bytes_check,
)
from prebook.lab.experiments.claim_check.riders import book_rides, plan_routes, route_of
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.load.rides import campaign_week, nth_ride
from prebook.runtime.retention import INBOX_DEDUP_S

MESSAGE_TTL = timedelta(seconds=INBOX_DEDUP_S)
"""How long a message without an expiry may wait for its receiver."""
MARGIN = timedelta(minutes=2)
"""What is left of a lifetime before an extension is awaited; far longer than the interval of extensions here."""
EXTENSION_ENV = {"PREBOOK_CLAIM_CHECK_EXTENSION_S": "1"}
REST_TIMEOUT_S = 180.0
RESTART_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.3
VICTIMS = (ROUTE_PLANNED.publisher, *sorted(ROUTE_PLANNED.subscribers))
"""Sender and receiver, killed in turn."""
PARKED_SHARE = 4
"""One message in so many is parked before it is replayed."""


class ClaimCheckSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: number of rides, kills while their routes are planned, and a defect to seed."""

    rides: int = 200
    kills: int = 8
    defect: SeededDefect = SeededDefect.NONE


@dataclass(frozen=True)
class ClaimCheckRun:
    """A running suite, its claim store, the size and seed, and the line of progress."""

    suite: BenchSuite
    probe: ClaimStoreProbe
    size: ClaimCheckSize
    seed: int
    log: Log

    async def observe(self, arrangement: str) -> BodiesSeen:
        """Plan routes, park some of their messages, let time pass, replay them, and count."""
        planned = await self._plan(arrangement)
        parked = await self.probe.list_parked(planned)
        lifetime = await self.probe.read_lifetime()
        if self.size.defect is SeededDefect.LOSE and arrangement == COMPUTED:
            await self.probe.delete_body(parked[0][1])
        self.log(f"{arrangement}: {len(parked)} of {len(planned)} parked; {MESSAGE_TTL} pass")
        await self.probe.age(MESSAGE_TTL)
        await self.probe.wait_for_collection()
        await self.probe.accept_routes()
        await self._replay([dead_letter_id for dead_letter_id, _ in parked[:-1]])
        last_id, last_message = parked[-1]
        self.log(f"{arrangement}: a further {2 * lifetime} pass")
        for _ in range(2):
            await self.probe.wait_for_extension(last_message, lifetime)
            await self.probe.age(lifetime - MARGIN)
        await self.probe.wait_for_extension(last_message, lifetime)
        await self.probe.wait_for_collection()
        kept = await self.probe.count_kept()
        await self._replay([last_id])
        return BodiesSeen(
            planned=len(planned),
            parked=len(parked),
            received=await self.probe.count_routes(planned),
            **await self.probe.count_bodies(planned),
            **kept,
        )

    async def _plan(self, arrangement: str) -> list[str]:
        """Return the bookings with a route, once each route is received or parked."""
        week = campaign_week(datetime.now(UTC))
        offset = self.size.rides * (arrangement == TOO_SHORT)
        rides = [nth_ride(self.seed, offset + number, week) for number in range(self.size.rides)]
        url = self.suite.state.urls["booking"]
        bookings = await book_rides(self.suite.session, url, rides, f"c{secrets.token_hex(4)}-")
        await self.probe.refuse_routes(list(bookings)[::PARKED_SHARE])
        async with first_error_task_group() as tasks:
            planning = tasks.create_task(plan_routes(self.suite.session, url, bookings))
            tasks.create_task(self._kill_in_turn())
        planned = planning.result()

        async def is_at_rest() -> bool:
            parked = len(await self.probe.list_parked(planned))
            return parked + await self.probe.count_routes(planned) == len(planned)

        await wait_until(is_at_rest, REST_TIMEOUT_S, POLL_INTERVAL_S)
        return planned

    async def _kill_in_turn(self) -> None:
        for number in range(self.size.kills):
            victim = VICTIMS[number % len(VICTIMS)]

            async def is_killed(victim: str = victim) -> bool:
                with suppress(aiohttp.ClientResponseError):  # it is not running: an earlier kill has ended it
                    await self.suite.kill(victim)
                    return True
                return False

            await wait_until(is_killed, RESTART_TIMEOUT_S, POLL_INTERVAL_S)
            self.log(f"killed {victim}")

    async def _replay(self, ids: Sequence[int]) -> None:
        """Replay dead letters, and wait for the end of the replay. Raises TimeoutError."""
        url = f"{self.suite.state.urls[OPERATIONS]}/v1/replays"
        request = ReplayRequest(selection=DeadLetterSelection(ids=tuple(ids)), keep_going=True)
        view = await self._call_operations("POST", url, msgspec.json.encode(request))

        async def is_ended() -> bool:
            return (await self._call_operations("GET", f"{url}/{view.id}")).ended_at is not None

        await wait_until(is_ended, REST_TIMEOUT_S, POLL_INTERVAL_S)

    async def _call_operations(self, method: str, url: str, body: bytes = b"") -> ReplayView:
        headers = {"authorization": f"Bearer {self.suite.state.operator_token}", "content-type": "application/json"}
        async with self.suite.session.request(method, url, data=body, headers=headers) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=ReplayView)


async def measure(run: ExperimentRun, size: ClaimCheckSize) -> Measurement:
    """Count the bytes of one message either way, and the bodies of a suite with either lifetime."""
    geometry = route_of(nth_ride(run.seed, 0, campaign_week(datetime.now(UTC))))
    with tempfile.TemporaryDirectory(prefix="prebook-claims-") as folder:
        async with start_suite(Path(folder) / "suite", env=EXTENSION_ENV) as suite:
            inline, checked = await count_bytes(suite.state.amqp_url, geometry)
            probe = ClaimStoreProbe(suite.database)
            await probe.record_deletions()
            claims = ClaimCheckRun(suite, probe, size, run.seed, run.log)
            right = await claims.observe(COMPUTED)
            await probe.shorten_lifetimes(MESSAGE_TTL)
            wrong = await claims.observe(TOO_SHORT)
    return Measurement(
        checks=[bytes_check(inline, checked), *body_checks(COMPUTED, right), *body_checks(TOO_SHORT, wrong)],
        tables=[_bytes_table(inline, checked), _bodies_table({COMPUTED: right, TOO_SHORT: wrong}, size.kills)],
        details={"inline_bytes": inline, "checked_bytes": checked, "right": right, "wrong": wrong},
    )


def _bytes_table(inline: int, checked: int) -> ResultTable:
    return ResultTable(
        title="Bytes of one route on the connection to the broker",
        columns=("with its body inside", "with a claim check", "ratio"),
        rows=((f"{inline:,}", f"{checked:,}", f"{inline / checked:.0f}"),),
    )


def _bodies_table(seen: dict[str, BodiesSeen], kills: int) -> ResultTable:
    def cells(own: BodiesSeen) -> tuple[str, ...]:
        counts = (own.planned, own.parked, own.received, own.read, own.deleted_unread, own.waiting)
        return tuple(map(str, (*counts, own.kept, own.orphans)))

    return ResultTable(
        title="Routes of 200 KiB",
        columns=(
            "arrangement",
            "planned",
            "parked",
            "received",
            "read",
            "deleted unread",
            "waiting",
            "kept",
            "orphans",
        ),
        rows=tuple((name, *cells(own)) for name, own in seen.items()),
        caption=f"{kills} kills of sender and receiver; parked messages are replayed after {MESSAGE_TTL}, the last one "
        "after two lifetimes more",
    )


CLAIM_CHECK = Experiment(
    name="claim-check",
    section=Section.PATTERNS,
    claims=("D7",),
    pattern="Claim Check (EIP)",
    code="shared/prebook/patterns/claim_check.py",
    claim="A body in the sender's store costs the broker next to nothing, and outlives every way of its message.",
    varies="the lifetime of stored bodies; sender and receiver are killed, and messages parked and replayed late",
    law=f"{CHEAPER}; {RECEIVED}; {BALANCE}; {NO_ORPHANS}",
    wrong_way="a body lives as long as its message may wait: a replay after its parking finds nothing",
    expected="With the computed lifetime every replay finds its body, and none is left over; else the replays fail.",
    full=ClaimCheckSize(),
    quick=ClaimCheckSize(rides=16, kills=2),
    options=(
        SizeOption("rides", click.IntRange(8, 5_000), "Number of rides with a route of 200 KiB."),
        SizeOption("kills", click.IntRange(1, 100), "Number of kills while routes are planned."),
        SizeOption(
            "defect",
            click.Choice([str(defect) for defect in (SeededDefect.NONE, SeededDefect.LOSE)]),
            "Mistake to seed into the right way, to see which law fails: a body is lost.",
        ),
    ),
    measure=measure,
    time_limit_s=1_800.0,
    quick_time_limit_s=600.0,
)
