"""Variations of where, when and with whom a flow runs: temporal, location, style, conversation, topology."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from prebook.contracts.plan import Coupling
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.supervisor.contract import NotRunning
from prebook.flows import QUOTE_FARE
from prebook.lab.experiments.variability.cell import Verdict
from prebook.lab.experiments.variability.deployments import Release
from prebook.lab.experiments.variability.site import TrialSite
from prebook.lab.experiments.variability.variation import (
    UNIFORM_PLANS,
    Dimension,
    Expectation,
    FollowUp,
    Side,
    Variation,
    expect_all,
)
from prebook.lab.load.plans import uniform_plan

CALLER = QUOTE_FARE.caller
PROVIDER = QUOTE_FARE.provider
CALLER_URL = f"PREBOOK_INTERNAL_URL_{CALLER.upper()}"
PROVIDER_URL = f"PREBOOK_INTERNAL_URL_{PROVIDER.upper()}"
OPEN_RIDES_S = 1.05
"""Seconds in which rides come to wait for the provider, before their caller goes away; less than a call's timeout."""
WAITS_AT_BROKER = "messages wait in a queue of the broker"
QUEUE_NAME = "the queue has a name, and no place"
POLLED = "no callback comes, and the caller polls for its reply"
NO_CALLBACK = "its replies are no callbacks"
UNHEARD = "only the provider gets the request"
FORMER_PLANS: Mapping[Coupling, Coupling] = {
    Coupling.SYNC_API: Coupling.REQUEST_REPLY,
    Coupling.ASYNC_API: Coupling.ONE_WAY,
    Coupling.ONE_WAY: Coupling.ASYNC_API,
    Coupling.REQUEST_REPLY: Coupling.SYNC_API,
}
"""Coupling from which a caller switches, by the coupling to which it does."""


async def take_provider_away(site: TrialSite) -> None:
    """Kill the provider, which is back after a while."""
    await site.deployments.kill(PROVIDER, site.away_s)


async def take_caller_away(site: TrialSite) -> None:
    """Kill the caller while rides of every coupling wait for the provider; it offers none until it is back."""
    provider = site.deployments.instances[PROVIDER].process
    await site.load.wait_for_second()
    site.load.paused = True
    await provider.pause()
    await asyncio.sleep(OPEN_RIDES_S)

    async def answer_open_requests() -> None:
        await asyncio.sleep(site.away_s / 4)
        with suppress(NotRunning):
            await provider.resume()

    await asyncio.gather(site.deployments.kill(CALLER, site.away_s), answer_open_requests())
    site.load.paused = False


async def move_provider(site: TrialSite) -> None:
    """Deploy the provider at another address."""
    site.moved_to = await site.deployments.move(PROVIDER)


async def tell_caller(site: TrialSite) -> None:
    """Deploy the caller with the new address of the provider."""
    await site.deployments.deploy(CALLER, Release({PROVIDER_URL: site.moved_to}))


async def move_caller(site: TrialSite) -> None:
    """Deploy the caller at another address."""
    site.moved_to = await site.deployments.move(CALLER)


async def switch_plans(site: TrialSite) -> None:
    """Let the caller send all requests by the coupling of their column."""
    site.load.plans = UNIFORM_PLANS


async def stop_callbacks(site: TrialSite) -> None:
    """Deploy the provider with a wrong address of the caller, at which nobody listens."""
    (port,) = allocate_ports(1)
    await site.deployments.deploy(PROVIDER, Release({CALLER_URL: f"http://{LOOPBACK}:{port}"}))


async def publish_requests(site: TrialSite) -> None:
    """Let the caller publish the flow's requests, whatever the coupling of the other flows."""
    published = {QUOTE_FARE.name: Coupling.ONE_WAY}
    site.load.plans = {label: {**plan, **published} for label, plan in site.load.plans.items()}


SITE_VARIATIONS: tuple[Variation, ...] = (
    Variation(
        dimension=Dimension.TEMPORAL,
        side=Side.PROVIDER,
        flow=QUOTE_FARE,
        change="is killed, and away for some seconds",
        apply=take_provider_away,
        expected={
            Coupling.SYNC_API: Expectation(Verdict.BREAKS, "the caller needs the reply while its own rider waits"),
            Coupling.ASYNC_API: Expectation(Verdict.DELAYED, "requests wait in the caller's outbox"),
            Coupling.ONE_WAY: Expectation(Verdict.DELAYED, WAITS_AT_BROKER),
            Coupling.REQUEST_REPLY: Expectation(Verdict.DELAYED, WAITS_AT_BROKER),
        },
        quick=True,
    ),
    Variation(
        dimension=Dimension.TEMPORAL,
        side=Side.CALLER,
        flow=QUOTE_FARE,
        change="is killed while it waits for replies, and away for some seconds",
        apply=take_caller_away,
        expected={
            Coupling.SYNC_API: Expectation(Verdict.BREAKS, "the open call ends with its caller"),
            Coupling.ASYNC_API: Expectation(Verdict.DELAYED, "replies wait in the provider's outbox"),
            Coupling.ONE_WAY: Expectation(Verdict.DELAYED, WAITS_AT_BROKER),
            Coupling.REQUEST_REPLY: Expectation(Verdict.DELAYED, WAITS_AT_BROKER),
        },
    ),
    Variation(
        dimension=Dimension.LOCATION,
        side=Side.PROVIDER,
        flow=QUOTE_FARE,
        change="moves to another port",
        apply=move_provider,
        follow_up=FollowUp(f"{CALLER}: {PROVIDER_URL}", tell_caller, settings=1),
        expected={
            Coupling.SYNC_API: Expectation(Verdict.MUST_CHANGE, "the caller calls an address"),
            Coupling.ASYNC_API: Expectation(Verdict.MUST_CHANGE, "requests wait for an address that nobody has"),
            Coupling.ONE_WAY: Expectation(Verdict.INDEPENDENT, QUEUE_NAME),
            Coupling.REQUEST_REPLY: Expectation(Verdict.INDEPENDENT, QUEUE_NAME),
        },
        quick=True,
    ),
    Variation(
        dimension=Dimension.LOCATION,
        side=Side.CALLER,
        flow=QUOTE_FARE,
        change="moves to another port",
        apply=move_caller,
        expected={
            Coupling.SYNC_API: Expectation(Verdict.INDEPENDENT, "the reply comes in the response"),
            Coupling.ASYNC_API: Expectation(Verdict.DELAYED, POLLED),
            Coupling.ONE_WAY: Expectation(Verdict.INDEPENDENT, QUEUE_NAME),
            Coupling.REQUEST_REPLY: Expectation(Verdict.INDEPENDENT, QUEUE_NAME),
        },
    ),
    Variation(
        dimension=Dimension.STYLE,
        side=Side.CALLER,
        flow=QUOTE_FARE,
        change="switches from another coupling to that of the column",
        apply=switch_plans,
        plans_before={to.value: uniform_plan(former) for to, former in FORMER_PLANS.items()},
        expected=expect_all(Verdict.INDEPENDENT, "the plan travels with the request, and receivers serve every plan"),
    ),
    Variation(
        dimension=Dimension.CONVERSATION,
        side=Side.PROVIDER,
        flow=QUOTE_FARE,
        change="calls nobody back",
        apply=stop_callbacks,
        expected={
            Coupling.SYNC_API: Expectation(Verdict.INDEPENDENT, NO_CALLBACK),
            Coupling.ASYNC_API: Expectation(Verdict.DELAYED, POLLED),
            Coupling.ONE_WAY: Expectation(Verdict.INDEPENDENT, NO_CALLBACK),
            Coupling.REQUEST_REPLY: Expectation(Verdict.INDEPENDENT, NO_CALLBACK),
        },
    ),
    Variation(
        dimension=Dimension.TOPOLOGY,
        side=Side.PROVIDER,
        flow=QUOTE_FARE,
        change="gets a further subscriber to its requests beside it",
        apply=TrialSite.subscribe,
        follow_up=FollowUp(f"{CALLER}: coupling of {QUOTE_FARE.name}", publish_requests, settings=1),
        expected={
            Coupling.SYNC_API: Expectation(Verdict.MUST_CHANGE, UNHEARD),
            Coupling.ASYNC_API: Expectation(Verdict.MUST_CHANGE, UNHEARD),
            Coupling.ONE_WAY: Expectation(Verdict.INDEPENDENT, "the sender knows no receiver"),
            Coupling.REQUEST_REPLY: Expectation(Verdict.MUST_CHANGE, UNHEARD),
        },
        quick=True,
    ),
)
