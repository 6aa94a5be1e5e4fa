"""Pricing's HTTP door without its database: inlet, endpoint, problems, metrics and log as in a service.

What is measured is the way of a question and its answer, as on the other side, whose handler has no store either.
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from litestar import Litestar

from prebook.contracts.pricing import FareQuoted, QuoteFare
from prebook.contracts.ride import Money
from prebook.coupling.channels import Transports, channels
from prebook.coupling.inbound import Doors
from prebook.coupling.reply_waiters import Waiters
from prebook.flows import QUOTE_FARE
from prebook.http.app import application
from prebook.http.client import HttpCaller
from prebook.http.inbound import doors
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import Context, Handlers, Outcome, Step
from prebook.rabbit.publisher import RabbitPublisher
from prebook.runtime import logging, settings
from prebook.runtime.telemetry import Metrics, Telemetry

SECRET = "only-for-the-bench"  # noqa: S105 - nobody calls back here


class Forgetful:
    """A unit of work that keeps nothing."""

    async def admit(self, envelope: Envelope) -> bool:  # noqa: ARG002 - the port's signature
        return True

    async def admit_all(self, envelopes: Sequence[Envelope]) -> list[str]:
        return [envelope.id for envelope in envelopes]

    async def admitted_at(self, message_id: str) -> None: ...
    async def owe(self, request: Envelope) -> None: ...
    async def question(self, flow: str, conversation: str) -> None: ...
    async def answered(self, answer: Envelope) -> None: ...
    async def answer_to(self, request_id: str) -> None: ...
    async def post(self, postings: Any) -> None: ...
    async def expect(self, expectations: Any) -> None: ...


@asynccontextmanager
async def begin() -> AsyncIterator[Forgetful]:
    yield Forgetful()


async def quoted(_: Context, wanted: QuoteFare, __: Forgetful) -> Outcome:
    return Outcome(answer=FareQuoted(fare=Money(cents=2100), discount=Money(cents=0), valid_until=wanted.pickup_at))


def door() -> Litestar:
    """By the environment of a service."""
    given, policies = settings.load()
    waiters, watch = Waiters(), Telemetry(Metrics())
    publisher = RabbitPublisher(given.amqp_url, "bench")
    routes = channels(Transports(HttpCaller(given.urls), publisher, policies, waiters, [SECRET]))
    handlers = Handlers(serves={QUOTE_FARE: Step(quoted)})
    endpoint = Endpoint("pricing", handlers, begin, routes, policies, watch=watch)
    return application(
        "pricing",
        doors("pricing", Doors(endpoint, waiters), policies, [SECRET]),
        missing=nothing_missing,
        scraped=no_gauges,
        lifespan=no_loops,
    )


async def nothing_missing() -> Mapping[str, str]:
    return {}


async def no_gauges() -> None: ...


@asynccontextmanager
async def no_loops(_: Litestar) -> AsyncIterator[None]:
    yield


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python -m loadtest.bench.ours.door, with a service's environment and BENCH_PORT set")
    logging.configure("pricing", "info")
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(door(), port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)
