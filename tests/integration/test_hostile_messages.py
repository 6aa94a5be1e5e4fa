"""Messages made byte by byte, to every kind of queue of a running suite: each is settled, and no connection is lost."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import psutil
import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import CAUSE_HEADER
from tests.integration.broker_probe import BrokerProbe
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.logs import read_lines
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite
from tests.integration.synthetic_events import booking_ended_event
from tests.integration.test_messages import VALID_HEADERS
from tests.rabbit.raw_amqp import ClosedByBrokerError, RawConnection, short, text_table
from tests.rabbit.undecodable_messages import UNDECODABLE_MESSAGES
from tests.traps.test_unpublishable_dead_letters import unpublishable_headers

pytestmark = pytest.mark.real
LOSSES = {"broker connection lost", "broker connection failed", "broker closed the publishing channel"}
ESCAPES = "\x1b]0;owned\x07\x1b[31mRED"
Message = tuple[Mapping[str, bytes], bytes]
"""Encoded properties, and body."""


@dataclass(frozen=True)
class Target:
    """Address of hostile messages, and the form of a valid message there.

    ``copies``: dead letters of one message: one for each queue of the address.
    """

    account: str
    exchange: str
    key: str
    copies: int
    valid: Callable[[str], WireMessage]


def quote_fare_request(conversation_id: str) -> WireMessage:
    headers = {"ce-id": f"{conversation_id}.quote_fare", "ce-subject": conversation_id}
    return WireMessage({**VALID_HEADERS, **headers}, b"{}")


AT_PARKING = Target("", addresses.PARKING, "fleets.requests.ask_fleet", 1, quote_fare_request)
TARGETS = (
    Target("booking", addresses.REQUESTS, "quote_fare", 1, quote_fare_request),
    Target("booking", addresses.EVENTS, addresses.event_routing_key("booking_ended"), 2, booking_ended_event),
    Target("", "", "pricing.requests.quote_fare", 1, quote_fare_request),
    AT_PARKING,
)
MIN_TAKEN = 25
"""Messages that every version of the broker takes, at least."""


def hostile_messages(valid: Callable[[str], WireMessage]) -> dict[str, Message]:
    """Return messages by name, each of a new conversation and with one defect."""

    def new(**changes: str) -> dict[str, str]:
        changed = {name.replace("_", "-"): value for name, value in changes.items()}
        return {**valid(f"bk_hostile{uuid4().hex[:12]}").headers, **changed}

    messages: dict[str, Message] = {
        "closing markup": ({"headers": text_table(new(ce_type="[/x]"))}, b"{}"),
        "escapes for a terminal": ({"headers": text_table(new(ce_type=ESCAPES))}, b"{\x1b[2J"),
        "unknown flow": ({"headers": text_table(new(prebook_flow=f"flow-{uuid4().hex}"))}, b"{}"),
        "NUL in a header": ({"headers": text_table(new(ce_source="a\x00b"))}, b"{"),
        "no headers": ({}, uuid4().bytes),
        "correlation id that is not UTF-8": (
            {"headers": text_table(new()), "correlation_id": short(b"\xc3\x28")},
            b"{}",
        ),
        "delivery mode 3": ({"headers": text_table(new()), "delivery_mode": b"\x03"}, b"{"),
        "expiration that is no number": ({"headers": text_table(new()), "expiration": short("soon")}, b"{"),
    }
    for name, body in {"1 MB": b"x" * 1_000_000, "not UTF-8": b"\xff\xfe", "empty": b""}.items():
        messages[f"body: {name}"] = ({"headers": text_table(new())}, body)
    for name, (_, build) in UNDECODABLE_MESSAGES.items():
        messages[name] = (build(new()), b"{}")
    for name in unpublishable_headers({}):
        messages[name] = ({"headers": unpublishable_headers(new())[name][1]}, b"{")
    return messages


async def publish_all(suite: Suite, control: ControlClient, target: Target) -> list[str]:
    """Publish every message; return the names of those that this version of the broker takes."""
    url = suite.state.amqp_url
    user_id = {}
    if target.account:
        url = psutil.Process(await control.read_pid(target.account)).environ()["PREBOOK_AMQP_URL"]
        user_id = {"user_id": short(f"prebook_{target.account}")}
    taken = []
    for name, (properties, body) in hostile_messages(target.valid).items():
        if await asyncio.to_thread(publish_one, url, target, ({**properties, **user_id}, body)):
            taken.append(name)
    return taken


def publish_one(url: str, target: Target, message: Message) -> bool:
    """Publish a message, and return whether the broker takes it."""
    properties, body = message
    with RawConnection(url) as connection:
        try:
            connection.publish(target.exchange, target.key, body, properties)
        except ClosedByBrokerError:
            return False
    return True


def count_losses(suite: Suite) -> Counter[tuple[str, str]]:
    return Counter(
        (service, line["event"])
        for service in PROCESSES
        for line in read_lines(suite, service)
        if line["event"] in LOSSES
    )


async def test_every_hostile_message_is_settled_and_no_connection_is_lost(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    losses = count_losses(suite)
    taken = {target: await publish_all(suite, control, target) for target in TARGETS}
    assert all(len(names) >= MIN_TAKEN for names in taken.values()), taken
    parked = await broker.collect_parked(sum(each.copies * len(taken[each]) for each in TARGETS), timeout_s=60)
    causes = Counter(each.headers.get(CAUSE_HEADER, "") for each in parked)
    assert causes[""] == len(taken[AT_PARKING]), "only there no consumer gives a cause"
    assert causes["undecodable"] >= 3 * len(UNDECODABLE_MESSAGES), causes
    assert count_losses(suite) == losses
    booking_ids = await rider.prebook_all([uniform_plan(coupling) for coupling in Coupling])
    assert all_in_state(await database.verify_bookings(booking_ids), "confirmed")
