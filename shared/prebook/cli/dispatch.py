"""`prebook dispatch`: subscribers to confirmed rides, and the rides that wait for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import rich_click as click
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from rich.table import Table

from prebook.cli.settings import read_settings
from prebook.cli.suite_access import find_broker, is_set
from prebook.cli.topology import load_subscriptions, policies_option
from prebook.contracts.events import BookingConfirmed
from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import POSITIVE_COUNT, json_option
from prebook.devstack.suite_state import read_suite_state
from prebook.devstack.terminal import PlainConsole, echo
from prebook.flows import BOOKING_CONFIRMED, OPERATIONS
from prebook.messaging import addresses
from prebook.messaging.codec import decode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import ForbiddenSender, Malformed, error_summary
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import connect
from prebook.rabbit.errors import BrokerRefused, BrokerUnreachable
from prebook.runtime import paths

HOW_TO_SUBSCRIBE = "add a table desks.<name> or extraordinary_rides to couplings.toml, then start the suite"


class SubscriberSettings(msgspec.Struct, frozen=True):
    """Setting PREBOOK_SUBSCRIBER_URL, or PREBOOK_SUBSCRIBER_URL_FILE with the path of a file that holds it."""

    subscriber_url: Annotated[
        str,
        msgspec.Meta(
            pattern="^amqps?://",
            description="broker URL with the user of a subscriber to confirmed rides, for `prebook dispatch take`",
            examples=["amqp://prebook_desk_airport:password@host:port/vhost"],
        ),
    ]


class WaitingRides(msgspec.Struct, frozen=True, kw_only=True):
    """Rides that wait in the queue of one subscriber."""

    subscriber: str
    queue: str
    waiting: int


@click.group(epilog=examples("prebook dispatch list", "prebook dispatch take desk_airport --max 10"))
def dispatch() -> None:
    """Show and take the confirmed rides of dispatch desks, and extraordinary rides.

    The subscribers are tables of couplings.toml. The subscriber `dispatch` has the rides that no desk takes.
    """


@dispatch.command("list", epilog=examples("prebook dispatch list --json | jq '.[] | select(.waiting > 100)'"))
@policies_option
@json_option()
def list_(*, policies_path: Path, as_json: bool) -> None:
    """List the subscribers with the number of rides that wait for each."""
    queues = load_subscriptions(policies_path).queues
    if not queues:
        raise UserError("nobody subscribes to confirmed rides", HOW_TO_SUBSCRIBE)
    waiting = command_line.run_interruptible(_count_waiting(queues))
    if as_json:
        echo(msgspec.json.encode(waiting))
    else:
        PlainConsole().print(_table(waiting))


@dispatch.command(epilog=examples("prebook dispatch take desk_airport", "prebook dispatch take dispatch --max 5"))
@click.argument("subscriber")
@click.option(
    "--max", "max_rides", type=POSITIVE_COUNT, default=100, show_default=True, help="Maximum number of rides to take."
)
@policies_option
@json_option("Accepted for uniformity; the output is always one JSON document per line.")
def take(*, subscriber: str, max_rides: int, policies_path: Path, as_json: bool) -> None:  # noqa: ARG001 - uniformity
    """Take waiting rides of SUBSCRIBER, and print one JSON document for each.

    A ride leaves its queue once it is printed. If the command is interrupted in between, the next one prints
    the ride again, with the same id.
    """
    queue = load_subscriptions(policies_path).queues.get(subscriber)
    if queue is None:
        raise UserError(f"{subscriber} is no subscriber", f"`prebook dispatch list` shows them; or {HOW_TO_SUBSCRIBE}")
    command_line.run_interruptible(_take(_subscriber_url(subscriber), queue, max_rides))


def _subscriber_url(subscriber: str) -> str:
    if is_set("PREBOOK_SUBSCRIBER_URL"):
        return read_settings(SubscriberSettings).subscriber_url
    try:
        return read_suite_state(paths.home_dir()).subscriber_urls[subscriber]
    except KeyError:
        raise UserError(f"the running suite was started without {subscriber}", "start it again") from None


async def _count_waiting(queues: Mapping[str, str]) -> list[WaitingRides]:
    try:
        async with find_broker() as broker:
            counts = await broker.count_messages()
    except (BrokerUnreachable, BrokerRefused) as error:
        raise UserError(str(error), "check the broker, and the address and user of its management API") from error
    if missing := [queue for queue in queues.values() if queue not in counts]:
        raise UserError(f"the broker has no queue {', '.join(missing)}", "run `prebook topology declare`")
    return [WaitingRides(subscriber=name, queue=queue, waiting=counts[queue]) for name, queue in queues.items()]


async def _take(url: str, queue_name: str, max_rides: int) -> None:
    try:
        async with await connect(url, "prebook dispatch") as connection:
            queue = await (await connection.channel()).get_queue(queue_name, ensure=False)
            for _ in range(max_rides):
                message = await queue.get(fail=False)
                if message is None:
                    return
                await _print(message)
    except (AMQPError, ConnectionError, TimeoutError) as error:
        raise UserError(
            f"the rides cannot be read: {error_summary(error)}", "`prebook topology diff` shows what the broker lacks"
        ) from error


async def _print(message: AbstractIncomingMessage) -> None:
    """Print a ride and acknowledge it; anything else goes to the unroutable messages, if the queue is a desk's."""
    try:
        envelope = _read_ride(message)
    except (Malformed, ForbiddenSender) as error:
        log_to_stderr(f"message {message.message_id!r} is no confirmed ride: {error}")
        return await message.reject(requeue=False)
    echo(msgspec.json.encode({"id": envelope.id, "confirmed_at": envelope.time, "ride": envelope.body}))
    return await message.ack()


def _read_ride(message: AbstractIncomingMessage) -> Envelope:
    """Return the event of a confirmed ride. Raises Malformed or ForbiddenSender.

    Any event may have the routing key of rides, and a queue behind a router has no grants of single messages: so the
    account is checked here. Operations sends what it replays.
    """
    senders = {addresses.broker_user(account) for account in (BOOKING_CONFIRMED.publisher, OPERATIONS)}
    if message.user_id not in senders:
        raise ForbiddenSender(f"{message.user_id or 'a message without user_id'} may not confirm rides")
    envelope = decode(from_amqp(message))
    if not isinstance(envelope.body, BookingConfirmed):
        raise Malformed("unexpected_type", f"it is the {envelope.kind} of {envelope.flow!r}")
    return envelope


def _table(waiting: list[WaitingRides]) -> Table:
    table = Table("subscriber", "queue", "waiting rides")
    for each in waiting:
        table.add_row(each.subscriber, each.queue, str(each.waiting))
    return table
