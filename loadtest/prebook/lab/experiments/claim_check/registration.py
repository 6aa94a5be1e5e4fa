"""Registration of the experiment: routes with claim checks, parked and replayed, while processes are killed."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import rich_click as click

from prebook.asyncio_tools import first_error_task_group
from prebook.contracts.dead_letters import DeadLetterSelection
from prebook.contracts.replays import ReplayRequest, ReplayView
from prebook.devstack.supervisor.contract import NotRunning
from prebook.flows import OPERATIONS, ROUTE_PLANNED
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
from prebook.lab.experiments.patterns.size import LOSE_ONLY, defect_option
from prebook.lab.experiments.service_processes import ServiceProcesses, shorten_retries
from prebook.lab.experiments.testbed import connect_as_admin
from prebook.lab.load.rides import campaign_week, nth_ride
from prebook.runtime.retention import INBOX_DEDUP_S

MESSAGE_TTL = timedelta(seconds=INBOX_DEDUP_S)
"""How long a message without an expiry may wait for its receiver."""
MARGIN = timedelta(minutes=2)
"""What is left of a lifetime before an extension is awaited; far longer than the interval of extensions here."""
EXTENSION = {"PREBOOK_CLAIM_CHECK_EXTENSION_S": "1"}
REST_TIMEOUT_S = 180.0
RESTART_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.3
SENDER = ROUTE_PLANNED.publisher
VICTIMS = (SENDER, *sorted(ROUTE_PLANNED.subscribers))
"""Sender and receiver, killed in turn."""
PARKED_SHARE = 4
"""One message in so many is parked before it is replayed."""


class ClaimCheckSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: rides of each arrangement, kills while routes are planned, and a defect to seed."""

    rides: int = 100
    kills: int = 8
    defect: SeededDefect = SeededDefect.NONE


@dataclass(frozen=True)
class ClaimCheckRun:
    """Sender, receiver and operations, the sender's claim store, the size, and the run."""

    services: ServiceProcesses
    probe: ClaimStoreProbe
    size: ClaimCheckSize
    run: ExperimentRun

    async def observe(self) -> dict[str, BodiesSeen]:
        """Plan routes, park some of their messages, let time pass, replay them, and count, for both arrangements."""
        planned = await self._plan()
        parked = {name: await self.probe.list_parked(ids) for name, ids in planned.items()}
        lifetime = await self.probe.read_lifetime()
        *_, (last_id, last_message) = parked[COMPUTED]
        if self.size.defect is SeededDefect.LOSE:
            await self.probe.delete_body(parked[COMPUTED][0][1])
        self.run.log(f"routes planned: {sum(map(len, planned.values()))}; {MESSAGE_TTL} pass")
        await self.probe.age(MESSAGE_TTL)
        await self.probe.collect()
        await self.probe.accept_routes()
        await self._replay([letter for own in parked.values() for letter, _ in own if letter != last_id])
        self.run.log(f"a further {2 * lifetime} pass")
        for _ in range(2):
            await self.probe.wait_for_extension(last_message, lifetime)
            await self.probe.age(lifetime - MARGIN)
        await self.probe.wait_for_extension(last_message, lifetime)
        await self.probe.collect()
        kept = {name: await self.probe.count_kept(ids) for name, ids in planned.items()}
        await self._replay([last_id])
        return {
            name: BodiesSeen(
                planned=len(ids),
                parked=len(parked[name]),
                received=await self.probe.count_routes(ids),
                **await self.probe.count_bodies(ids),
                **kept[name],
            )
            for name, ids in planned.items()
        }

    async def _plan(self) -> dict[str, list[str]]:
        """Return the bookings with a route by arrangement, once each route is received or parked."""
        week = campaign_week(datetime.now(UTC))
        rides = [nth_ride(self.run.seed, number, week) for number in range(2 * self.size.rides)]
        url = self.services.access.addresses.public[SENDER]
        session = self.services.access.session
        bookings = await book_rides(session, url, rides, f"c{secrets.token_hex(4)}-")
        groups = {COMPUTED: list(bookings)[: self.size.rides], TOO_SHORT: list(bookings)[self.size.rides :]}
        await self.probe.shorten_lifetimes(groups[TOO_SHORT], MESSAGE_TTL)
        await self.probe.refuse_routes([booking for own in groups.values() for booking in own[::PARKED_SHARE]])
        async with first_error_task_group() as tasks:
            planning = tasks.create_task(plan_routes(session, url, bookings))
            tasks.create_task(self._kill_in_turn())
        planned = planning.result()

        async def is_at_rest() -> bool:
            parked = len(await self.probe.list_parked(planned))
            return parked + await self.probe.count_routes(planned) == len(planned)

        await wait_until(is_at_rest, REST_TIMEOUT_S, POLL_INTERVAL_S)
        return {name: [booking for booking in own if booking in planned] for name, own in groups.items()}

    async def _kill_in_turn(self) -> None:
        for number in range(self.size.kills):
            victim = VICTIMS[number % len(VICTIMS)]

            async def is_killed(victim: str = victim) -> bool:
                with suppress(NotRunning):  # an earlier kill has ended it
                    await self.services.kill(victim)
                    return True
                return False

            await wait_until(is_killed, RESTART_TIMEOUT_S, POLL_INTERVAL_S)
            self.run.log(f"killed {victim}")

    async def _replay(self, ids: Sequence[int]) -> None:
        """Replay dead letters, and wait for the end of the replay. Raises TimeoutError."""
        url = f"{self.services.access.addresses.public[OPERATIONS]}/v1/replays"
        request = ReplayRequest(selection=DeadLetterSelection(ids=tuple(ids)), keep_going=True)
        view = await self._call_operations("POST", url, msgspec.json.encode(request))

        async def is_ended() -> bool:
            return (await self._call_operations("GET", f"{url}/{view.id}")).ended_at is not None

        await wait_until(is_ended, REST_TIMEOUT_S, POLL_INTERVAL_S)

    async def _call_operations(self, method: str, url: str, body: bytes = b"") -> ReplayView:
        access = self.services.access
        headers = {**access.addresses.operator_headers, "content-type": "application/json"}
        async with access.session.request(method, url, data=body, headers=headers) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=ReplayView)


async def measure(run: ExperimentRun, size: ClaimCheckSize) -> Measurement:
    """Count the bytes of one message either way, and the bodies of messages with either lifetime."""
    geometry = route_of(nth_ride(run.seed, 0, campaign_week(datetime.now(UTC))))
    inline, checked = await count_bytes(run.testbed.stack.broker.amqp_url, geometry)
    settings = {**EXTENSION, **shorten_retries(run.testbed)}
    async with (
        connect_as_admin(run.testbed.context.database_url) as database,
        ServiceProcesses.run(run.testbed, (*VICTIMS, OPERATIONS), settings) as services,
    ):
        probe = ClaimStoreProbe(database, run.testbed.context.envs[SENDER]["PREBOOK_DATABASE_URL"])
        await probe.record_deletions()
        seen = await ClaimCheckRun(services, probe, size, run).observe()
    return Measurement(
        checks=[
            bytes_check(inline, checked),
            *(check for arrangement, own in seen.items() for check in body_checks(arrangement, own)),
        ],
        tables=[_bytes_table(inline, checked), _bodies_table(seen, size.kills)],
        details={"inline_bytes": inline, "checked_bytes": checked, "seen": seen},
    )


def _bytes_table(inline: int, checked: int) -> ResultTable:
    return ResultTable(
        title="Bytes of one route on the connection to the broker",
        columns=("with its body inside", "with a claim check", "ratio"),
        rows=((f"{inline:,}", f"{checked:,}", f"{inline / checked:.0f}"),),
    )


def _bodies_table(seen: Mapping[str, BodiesSeen], kills: int) -> ResultTable:
    columns = ("planned", "parked", "received", "read", "deleted_unread", "waiting", "kept", "orphans")
    return ResultTable.by_arrangement(
        "Routes of 200 KiB",
        ("arrangement", *(name.replace("_", " ") for name in columns)),
        seen,
        lambda own: (getattr(own, name) for name in columns),
        f"{kills} kills of sender and receiver; parked messages are replayed after {MESSAGE_TTL}, the last one "
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
    quick=ClaimCheckSize(rides=12, kills=2),
    options=(
        SizeOption("rides", click.IntRange(8, 5_000), "Number of rides of each arrangement, with a route of 200 KiB."),
        SizeOption("kills", click.IntRange(1, 100), "Number of kills while routes are planned."),
        defect_option(LOSE_ONLY, "a body is lost"),
    ),
    measure=measure,
)
