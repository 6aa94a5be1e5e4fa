"""`prebook pipe`: show, run and remove the feed of confirmed rides to a city authority."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import msgspec
import rich_click as click
from aio_pika.exceptions import AMQPError
from yarl import URL

from prebook.asyncio_tools import first_error_task_group
from prebook.cli.pipe.city_feed import (
    ACCOUNT,
    CITY_FEED_TOPOLOGY,
    ENRICH,
    FILTER,
    PUSH,
    city_feed,
    enrich_with_ride,
    filter_by_fleet,
)
from prebook.cli.suite_access import find_archive, find_broker, find_services
from prebook.cli.topology import load_policies, policies_option
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr, log_warnings_only
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import POSITIVE, POSITIVE_COUNT, combine, json_option, rate_option
from prebook.devstack.terminal import echo
from prebook.flows import BOOKING_CONFIRMED, CONSOLE
from prebook.http.client import ServiceClient
from prebook.http.push_target import PushTarget
from prebook.http.signed_client import SignedHttpClient
from prebook.messaging import addresses
from prebook.messaging.pipe_runner import PipeRunner
from prebook.messaging.policy import retry_delays_s
from prebook.patterns.enricher import AbsencePolicy
from prebook.patterns.pipe import Pipe, PipeEnd
from prebook.rabbit.connection import CONNECT_TIMEOUT_S
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.rabbit.management import ManagementClient
from prebook.rabbit.pipe_source import RabbitPipeSource
from prebook.topology.diagrams import mermaid_diagram
from prebook.topology.model import suite_topology
from prebook.topology.pipe import pipe_topology
from prebook.topology.sender_check import sender_check

PROGRESS_INTERVAL_S = 5.0
DRAIN_INTERVAL_S = 0.5
DEFAULTS = city_feed().stages[-1]
BROKER_REMEDY = "`prebook doctor` shows whether the broker responds"

knobs = combine(
    rate_option("Maximum number of rides per second.", default=DEFAULTS.rate_per_s),
    click.option(
        "--batch-size",
        type=POSITIVE_COUNT,
        default=DEFAULTS.batch_size,
        show_default=True,
        help="Maximum number of rides in one push.",
    ),
    click.option(
        "--parallelism",
        type=POSITIVE_COUNT,
        default=DEFAULTS.parallelism,
        show_default=True,
        help="Maximum number of pushes at a time.",
    ),
)


class FeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rides of one run by their end, and those that wait in the queue afterwards."""

    filtered: int
    delivered: int
    parked: int
    waiting: int


@click.group()
def pipe() -> None:
    """Feed confirmed rides to a city authority: a queue of events, a filter, an enricher, and a push at a limited rate.

    Nothing of it exists before the first `prebook pipe run`. From then on, its queue collects rides until
    `prebook pipe remove`.
    """
    log_warnings_only()


@pipe.command(epilog=examples("prebook pipe show", "prebook pipe show --rate 5 --json | jq .stages"))
@knobs
@json_option("Print the pipe as one JSON document.")
def show(*, rate: float, batch_size: int, parallelism: int, as_json: bool) -> None:
    """Print the pipe as a Mermaid diagram: solid arrows are pushed by the source, dotted ones pulled by the target."""
    feed = city_feed(rate_per_s=rate, batch_size=batch_size, parallelism=parallelism)
    drawing = mermaid_diagram(pipe_topology(feed, BOOKING_CONFIRMED, ACCOUNT))
    echo(msgspec.json.encode(feed) if as_json else drawing, nl=as_json)


@pipe.command(
    epilog=examples(
        "prebook pipe run http://127.0.0.1:9000/rides",
        "prebook pipe run https://city.example/rides --rate 5 --batch-size 20 --fleet borealis --for 60",
    )
)
@click.argument("url")
@knobs
@click.option("--fleet", "fleets", multiple=True, help="Pass only rides of this fleet; repeatable. [default: all]")
@click.option(
    "--when-away",
    type=click.Choice([policy.value for policy in AbsencePolicy]),
    default=AbsencePolicy.WAIT.value,
    show_default=True,
    help="What happens to a ride while booking is down: it waits, goes on without its details, or is parked.",
)
@click.option("--drain", is_flag=True, help="End once the queue is empty.")
@click.option("--for", "duration_s", type=POSITIVE, help="Seconds after which the run ends. [default: Ctrl-C ends it]")
@policies_option
@json_option("Print the report as one JSON document to stdout, progress to stderr.")
def run(
    *,
    url: str,
    rate: float,
    batch_size: int,
    parallelism: int,
    fleets: tuple[str, ...],
    when_away: str,
    drain: bool,
    duration_s: float | None,
    policies_path: Path,
    as_json: bool,
) -> None:
    """Push confirmed rides to URL as JSON arrays, until Ctrl-C, or as long as the options say.

    The first run declares the queue; rides that were confirmed before are not in it. After
    status 408, 425, 429 or 5xx a batch is pushed again; a ride that the target refuses with any other status is parked
    (`prebook parking list`). A ride may be pushed again after a crash: its `id` stays the same.
    """
    if not URL(url).host or URL(url).scheme not in {"http", "https"}:
        raise click.UsageError(f"{url} is no http or https URL")
    work = _Feed(
        pipe=city_feed(rate_per_s=rate, batch_size=batch_size, parallelism=parallelism),
        url=url,
        fleets=fleets,
        when_away=AbsencePolicy(when_away),
        password=secrets.token_urlsafe(24),
        delays_s=retry_delays_s(load_policies(policies_path)),
    )
    report = command_line.run_interruptible(work.run(duration_s, drain=drain))
    if as_json:
        echo(msgspec.json.encode(report))
    else:
        echo(", ".join(f"{name} {count}" for name, count in msgspec.structs.asdict(report).items()))


@pipe.command(epilog=examples("prebook pipe remove"))
@policies_option
@json_option()
def remove(*, policies_path: Path, as_json: bool) -> None:
    """Delete the queue with the rides in it, its policy, and the account of the feed."""
    suite = suite_topology(retry_delays_s(load_policies(policies_path)))

    async def delete() -> list[str]:
        async with _connect_broker() as broker:
            removed = await broker.delete_consumer(CITY_FEED_TOPOLOGY, ACCOUNT)
            await broker.declare(suite, {})  # takes back the permission to replay into the queue
            return removed

    removed = command_line.run_interruptible(delete())
    echo(msgspec.json.encode({"removed": removed}) if as_json else "\n".join(f"removed {name}" for name in removed))


@dataclass(frozen=True, kw_only=True, repr=False)
class _Feed:
    """One run of the feed on the suite's broker."""

    pipe: Pipe
    url: str
    fleets: tuple[str, ...]
    when_away: AbsencePolicy
    password: str
    delays_s: frozenset[float]

    @property
    def amqp_url(self) -> str:
        """The broker, with the account of the feed."""
        broker = URL(find_archive().archive_url.partition(",")[0])
        return str(broker.with_user(addresses.broker_user(ACCOUNT)).with_password(self.password))

    async def run(self, duration_s: float | None, *, drain: bool) -> FeedReport:
        """Declare the feed, run it for ``duration_s`` seconds, until it is drained or until a signal, and count.

        Raises UserError.
        """
        await self._declare()
        services = find_services()
        client = ServiceClient(services.internal_urls)
        target = PushTarget(self.url)
        source = RabbitPipeSource(self.amqp_url, ACCOUNT, self.pipe, check_sender=sender_check(CITY_FEED_TOPOLOGY))
        signed = SignedHttpClient(client, CONSOLE, lambda: services.console_secrets)
        works = {
            FILTER: filter_by_fleet(self.fleets),
            ENRICH: enrich_with_ride(signed, self.when_away),
            PUSH: target.push,
        }
        runner = PipeRunner(self.pipe, source.pull, works)
        background = (*(connection.run() for connection in source.connections), runner.run(), _print_progress(runner))
        try:
            async with first_error_task_group() as group:
                tasks = [group.create_task(each) for each in background]
                with suppress(TimeoutError):
                    async with asyncio.timeout(duration_s):
                        await (self._wait_until_drained(runner, source) if drain else asyncio.Event().wait())
                for task in tasks:
                    task.cancel()
        finally:
            await target.close()
            await client.close()
        return await self._report(runner)

    async def _wait_until_drained(self, runner: PipeRunner, source: RabbitPipeSource) -> None:
        while True:
            await asyncio.sleep(DRAIN_INTERVAL_S)
            if not (await self._count_ready() or source.waiting or runner.held):
                return

    async def _declare(self) -> None:
        """Declare the suite with the feed: permissions are replaced as a whole, including those that replays need."""
        model = suite_topology(self.delays_s) | CITY_FEED_TOPOLOGY
        async with _connect_broker() as broker:
            await broker.declare(model, {ACCOUNT: self.password})

    async def _report(self, runner: PipeRunner) -> FeedReport:
        return FeedReport(
            filtered=runner.ends[PipeEnd.FILTERED],
            delivered=runner.ends[PipeEnd.DELIVERED],
            parked=runner.ends[PipeEnd.PARKED],
            waiting=await self._count_ready(),
        )

    async def _count_ready(self) -> int:
        """Return how many rides wait in the queue. Raises UserError."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S), await aio_pika.connect(self.amqp_url) as connection:
                queue = await (await connection.channel()).declare_queue(self.pipe.source, passive=True)
        except (AMQPError, OSError) as error:
            raise UserError(f"the queue {self.pipe.source} cannot be read: {error}", BROKER_REMEDY) from error
        return queue.declaration_result.message_count or 0


async def _print_progress(runner: PipeRunner) -> None:
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL_S)
        ends = ", ".join(f"{end} {runner.ends[end]}" for end in PipeEnd)
        waiting = ", ".join(f"{count} before {stage}" for stage, count in runner.waiting.items())
        log_to_stderr(f"{ends}; waiting in the pipe: {waiting}")


@asynccontextmanager
async def _connect_broker() -> AsyncIterator[ManagementClient]:
    try:
        async with find_broker() as broker:
            yield broker
    except (BrokerUnreachable, BrokerRefused) as error:
        raise UserError(str(error), BROKER_REMEDY) from error
