"""Handling of each message in the queue of a desk by `prebook dispatch take`."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from prebook.cli import dispatch
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from tests.topology.ride_examples import confirmed_ride, ended_booking

BOOKING = addresses.broker_user("booking")


@dataclass
class FakeMessage:
    """A delivered message that notes what became of it."""

    wire: WireMessage
    user_id: str | None
    message_id: str | None = None
    content_type: str = "application/json"
    settled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.headers: dict[str, Any] = dict(self.wire.headers)
        self.body = self.wire.body

    async def ack(self) -> None:
        self.settled.append("acknowledged")

    async def reject(self, *, requeue: bool) -> None:
        self.settled.append("requeued" if requeue else "rejected")


async def take(wire: WireMessage, user: str | None) -> list[str]:
    message = FakeMessage(wire, user)
    await dispatch._print(cast("Any", message))
    return message.settled


@pytest.mark.parametrize("account", ["booking", "operations"])
async def test_a_ride_is_printed_and_acknowledged(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    ride = confirmed_ride("b-1")
    assert await take(encode(ride), addresses.broker_user(account)) == ["acknowledged"]
    assert f'"id":"{ride.id}"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wire", "user", "reason"),
    [
        (encode(ended_booking()), BOOKING, "it is the event of 'booking_ended'"),
        (WireMessage(encode(confirmed_ride()).headers, b"{"), BOOKING, ""),
        (WireMessage({}, b"{}"), BOOKING, ""),
        (encode(confirmed_ride()), None, "a message without user_id may not confirm rides"),
        (encode(confirmed_ride()), addresses.broker_user("pricing"), "prebook_pricing may not confirm rides"),
    ],
    ids=["another event", "no JSON", "no headers", "no sender", "another sender"],
)
async def test_anything_else_is_rejected_and_stays_in_no_ones_way(
    wire: WireMessage, user: str | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another event at the address of rides ended each take with a traceback, and stayed at the head of the queue."""
    assert await take(wire, user) == ["rejected"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"is no confirmed ride: {reason}" in printed.err
