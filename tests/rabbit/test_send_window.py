"""Search for the message that closes the channel: it alone is refused, and every other one is published."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.frame_decoder import PublisherConfirm
from prebook.rabbit.amqp_publisher.send_window import SendWindow
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages


def message(number: int, due: float = 10.0) -> PendingConfirm:
    return PendingConfirm("x", "k", f"m{number}", due, asyncio.get_running_loop().create_future())


class Channel:
    """Broker's side of one channel: it confirms in order, and closes the channel at an offender."""

    def __init__(self, offenders: set[str], unanswered: int = 0) -> None:
        """``unanswered``: confirms before each offender that the closing channel does not send any more."""
        self.unconfirmed = UnconfirmedMessages()
        self.window = SendWindow(self.unconfirmed)
        self.offenders = offenders
        self.unanswered = unanswered
        self.taken: list[str] = []
        self.closes = 0
        self.on_wire: list[PendingConfirm] = []

    def publish(self, pending: PendingConfirm) -> None:
        if self.window.is_limited:
            self.window.append(pending)
        else:
            self.unconfirmed.add(pending)
            self.on_wire.append(pending)

    def run(self) -> None:
        """Handle what is on the wire until nothing is."""
        tag = 0
        while self.on_wire:
            bad = next((n for n, each in enumerate(self.on_wire) if each.message_id in self.offenders), None)
            good = self.on_wire[:bad]
            self.taken += [each.message_id for each in good]
            confirmed = len(good) if bad is None else max(0, len(good) - self.unanswered)
            for _ in range(confirmed):
                tag += 1
                self.unconfirmed.settle(PublisherConfirm(tag, multiple=False, accepted=True))
                if self.window.is_limited:
                    self.window.grow()
            if bad is None:
                self.on_wire = self.window.take_ready() if self.window.is_limited else []
                continue
            self.closes += 1
            tag = 0
            self.window.close("404 NOT_FOUND")
            self.on_wire = self.window.take_ready()


def outcomes(messages: list[PendingConfirm]) -> list[type]:
    return [type(each.future.exception()) for each in messages]


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=8))),
    st.integers(0, 300),
)
async def test_exactly_the_offenders_are_refused_and_the_order_is_kept(
    counts: tuple[int, set[int]], unanswered: int
) -> None:
    total, offending = counts
    channel = Channel({f"m{number}" for number in offending}, unanswered)
    messages = [message(number) for number in range(total)]
    for each in messages:
        channel.publish(each)
    channel.run()
    expected = [Undeliverable if number in offending else type(None) for number in range(total)]
    assert outcomes(messages) == expected
    first_takes = list(dict.fromkeys(channel.taken))
    assert first_takes == [f"m{number}" for number in range(total) if number not in offending]
    assert not channel.window.is_limited
    assert channel.unconfirmed.on_channel == 0


async def test_one_offender_among_many_is_found_within_a_few_channels() -> None:
    channel = Channel({"m700"}, unanswered=1000)
    messages = [message(number) for number in range(1000)]
    for each in messages:
        channel.publish(each)
    channel.run()
    assert outcomes(messages).count(Undeliverable) == 1
    assert channel.closes <= 25


async def test_the_refusal_names_address_message_and_reason() -> None:
    channel = Channel({"m0"})
    alone = message(0)
    channel.publish(alone)
    channel.run()
    with pytest.raises(Undeliverable, match="x 'k': the broker refused m0: 404 NOT_FOUND") as refused:
        alone.future.result()
    assert refused.value.cause == "refused"


async def test_nobody_is_accused_while_an_overdue_message_may_be_the_offender() -> None:
    channel = Channel(set())
    overdue, innocent = message(0, due=1.0), message(1)
    for each in (overdue, innocent):
        channel.unconfirmed.add(each)
    channel.unconfirmed.fail_overdue(2.0)
    assert channel.window.close("406 PRECONDITION_FAILED") is None
    assert channel.window.take_ready() == [innocent]
    with pytest.raises(Unreachable):
        overdue.future.result()


async def test_waiting_messages_fail_at_their_deadline_and_with_the_connection() -> None:
    window = SendWindow(UnconfirmedMessages())
    early, late = message(0, due=1.0), message(1)
    window.append(early)
    window.append(late)
    window.fail_overdue(2.0)
    with pytest.raises(Unreachable, match="time limit"):
        early.future.result()
    window.fail_all("cut")
    with pytest.raises(Unreachable, match="cut"):
        late.future.result()
