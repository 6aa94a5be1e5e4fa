"""Experiment: messages and HTTP requests of rides in each plan, counted by the services and predicted by the model."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import rich_click as click

from prebook.contracts.plan import Coupling
from prebook.devstack.errors import UserError
from prebook.devstack.polling import wait_until
from prebook.flows import SERVICES
from prebook.lab.experiments.crash_points.riders import MAX_WAIT_S, PersistentRiders
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import run_prebook
from prebook.lab.experiments.service_processes import ServiceProcesses
from prebook.lab.experiments.testbed import RETRY_HINT
from prebook.lab.load.generator import prepare_requests
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.rides import campaign_week
from prebook.lab.suite_client.services import SuiteClient

SCENARIO = "operations"
SETTINGS = {"PREBOOK_ALLOW_PLAN_OVERRIDE": "true"}
NOTIFIED_TIMEOUT_S = 60.0
SENT = re.compile(r'^prebook_messages_sent_total\{coupling="(\w+)",flow="(\w+)",kind="(\w+)"\} (\S+)$', re.MULTILINE)
CALLS = re.compile(r"^prebook_http_client_requests_total\{[^}]*\} (\S+)$", re.MULTILINE)
HTTP_REQUESTS = "HTTP requests"
BROKER_COUPLINGS = frozenset({Coupling.ONE_WAY.value, Coupling.REQUEST_REPLY.value})
AS_PREDICTED = "broker messages of the flows = requests x messages of the model"
AT_LEAST = "HTTP requests >= requests x exchanges of the model"
WRONG = "one_way, predicted as sync_api"


class OperationsSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: number of rides of each plan."""

    rides: int = 20


class FlowFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Operations of one request and its reply, in the scorecard."""

    flow: str
    coupling: str
    broker_messages: int
    http_requests: int


class _Scorecard(msgspec.Struct, frozen=True):
    flows: tuple[FlowFigures, ...]


@dataclass(frozen=True)
class PlanCounts:
    """Counts of the rides of one plan, and what the model predicts for as many requests of each flow."""

    requests: Mapping[str, int]
    """Requests by flow."""
    broker_messages: int
    http_requests: int

    def predicted(self, model: Sequence[FlowFigures], coupling: str) -> tuple[int, int]:
        """Return the broker messages and HTTP requests of these requests with a coupling, by the model."""
        own = [each for each in model if each.coupling == coupling]
        messages = sum(self.requests.get(each.flow, 0) * each.broker_messages for each in own)
        return messages, sum(self.requests.get(each.flow, 0) * each.http_requests for each in own)


async def measure(run: ExperimentRun, size: OperationsSize) -> Measurement:
    """Book rides in each plan, one plan after the other, and count what the services have sent. Raises UserError."""
    card = await run_prebook("coupling", "scorecard", "--json")
    model = msgspec.json.decode(card.stdout, type=_Scorecard).flows
    counted: dict[str, PlanCounts] = {}
    async with ServiceProcesses.run(run.testbed, SERVICES, SETTINGS) as services:
        for coupling in Coupling:
            run.log(f"{size.rides} rides by {coupling}")
            before = await _read_totals(services)
            await _book(services, coupling, size.rides, run.seed)
            counted[coupling] = plan_counts(await _read_totals(services) - before)
    return Measurement(checks=operation_checks(model, counted), tables=[_table(counted, size.rides)])


def plan_counts(totals: Counter[tuple[str, str, str]]) -> PlanCounts:
    """Return the counts of a plan. ``totals``: messages by coupling, flow and kind, and HTTP requests."""
    requests = {flow: count for (_, flow, kind), count in totals.items() if kind == "request"}
    messages = sum(
        count for (coupling, _, kind), count in totals.items() if coupling in BROKER_COUPLINGS and kind != "event"
    )
    return PlanCounts(requests, messages, totals["", "", HTTP_REQUESTS])


def operation_checks(model: Sequence[FlowFigures], counted: Mapping[str, PlanCounts]) -> list[LawCheck]:
    """Return the checks of all plans, and that of a plan that is taken to cost as much as another one."""
    checks = []
    for coupling, counts in counted.items():
        messages, exchanges = counts.predicted(model, coupling)
        sent = ("counted", counts.broker_messages)
        called = ("counted", counts.http_requests)
        checks.append(check_law(AS_PREDICTED, coupling, sent, Relation.EQUAL, ("predicted", messages)))
        checks.append(check_law(AT_LEAST, coupling, called, Relation.AT_LEAST, ("predicted", exchanges)))
    one_way = counted[Coupling.ONE_WAY]
    messages, _ = one_way.predicted(model, Coupling.SYNC_API)
    sides = ("counted", one_way.broker_messages), Relation.EQUAL, ("predicted", messages)
    return [*checks, check_law(AS_PREDICTED, WRONG, *sides, expected=LawVerdict.VIOLATED)]


async def _book(services: ServiceProcesses, coupling: Coupling, rides: int, seed: int) -> None:
    """Book rides in one plan, and return once all riders are notified. Raises UserError."""
    access = services.access
    name = f"{SCENARIO}-{coupling}-{seed}"
    planned = [PlannedRequest(at_s=0.0, ride=number, label=coupling) for number in range(rides)]
    week = campaign_week(datetime.now(UTC))
    requests = prepare_requests(planned, run_id=name, scenario=SCENARIO, seed=seed, week=week)
    riders = PersistentRiders(access.session, access.addresses.public["booking"], SCENARIO, MAX_WAIT_S)
    samples = await riders.book(requests)
    ids = {sample.booking_id for sample in samples if sample.booking_id}
    if len(ids) != rides:
        raise UserError(f"{rides - len(ids)} of {rides} rides were not accepted", RETRY_HINT)
    client = SuiteClient(access.session, access.addresses)
    since = datetime.now(UTC).replace(hour=0, minute=0, second=0)

    async def are_notified() -> bool:
        return ids <= {entry.booking_id for entry in await client.read_deliveries(since)}

    await wait_until(are_notified, NOTIFIED_TIMEOUT_S, subject="the riders' notices", remedy=RETRY_HINT)
    await _wait_until_quiet(services)


async def _wait_until_quiet(services: ServiceProcesses) -> None:
    """Wait until two readings in a row are equal: the last replies are on their way when the riders are notified."""
    seen: Counter[tuple[str, str, str]] = Counter()

    async def is_quiet() -> bool:
        nonlocal seen
        last, seen = seen, await _read_totals(services)
        return last == seen

    await wait_until(is_quiet, NOTIFIED_TIMEOUT_S, subject="the last messages", remedy=RETRY_HINT)


async def _read_totals(services: ServiceProcesses) -> Counter[tuple[str, str, str]]:
    totals: Counter[tuple[str, str, str]] = Counter()
    for service in SERVICES:
        url = f"{services.access.addresses.internal[service]}/metrics"
        async with services.access.session.get(url) as response:
            page = await response.text()
        for coupling, flow, kind, value in SENT.findall(page):
            totals[coupling, flow, kind] += round(float(value))
        totals["", "", HTTP_REQUESTS] += sum(round(float(value)) for value in CALLS.findall(page))
    return totals


def _table(counted: Mapping[str, PlanCounts], rides: int) -> ResultTable:
    return ResultTable.by_arrangement(
        f"Operations per ride, of {rides} rides",
        ("plan", "requests", "broker messages of the flows", "HTTP requests"),
        counted,
        lambda each: (
            f"{sum(each.requests.values()) / rides:.2f}",
            f"{each.broker_messages / rides:.2f}",
            f"{each.http_requests / rides:.2f}",
        ),
        "Events, which are the same in every plan, are not in it.",
    )


OPERATIONS = Experiment(
    name="operations",
    section=Section.COUPLING,
    claims=("B2",),
    code="shared/prebook/topology/scorecard.py",
    claim="Decoupling has a cost at run time: messages in place of calls, as the model predicts.",
    varies="the coupling of all flows",
    law=f"{AS_PREDICTED}; {AT_LEAST}",
    wrong_way="messages are taken to cost what synchronous calls cost",
    expected="A request costs two messages over the broker, two HTTP requests by async_api, and one by sync_api.",
    full=OperationsSize(),
    quick=OperationsSize(rides=8),
    options=(SizeOption("rides", click.IntRange(1, 500), "Rides of each plan."),),
    measure=measure,
)
