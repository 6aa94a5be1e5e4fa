"""Messages that an account of the broker sends in the name of another service."""

from datetime import UTC, datetime

import aio_pika
import psutil
import pytest
from aio_pika import DeliveryMode

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging import addresses
from tests.integration.broker_probe import BrokerProbe
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan

pytestmark = pytest.mark.real
FREE = b'{"cents":0,"currency":"EUR"}'
FREE_FARE = b'{"fare":%b,"discount":%b,"valid_until":"2031-01-01T00:00:00Z"}' % (FREE, FREE)


def reply_headers(flow: str, conversation_id: str, message_type: str, *, message_id: str) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": message_id,
        "ce-type": message_type,
        "ce-source": f"/prebook/{FLOWS[flow].provider}",
        "ce-subject": conversation_id,
        "ce-time": datetime.now(UTC).isoformat(),
        "prebook-kind": "reply",
        "prebook-flow": flow,
        "prebook-plan": ",".join(f"{name}=one_way" for name in FLOWS),
        "prebook-reply-to": FLOWS[flow].caller,
    }


async def read_amqp_url(control: ControlClient, service: str) -> str:
    """Return the URL of the broker with the account of a service."""
    return psutil.Process(await control.read_pid(service)).environ()["PREBOOK_AMQP_URL"]


async def publish(url: str, service: str, address: tuple[str, str], headers: dict[str, str], body: bytes) -> None:
    """Publish a message with the broker account of ``service``, which ``url`` names."""
    exchange, routing_key = address
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        message = aio_pika.Message(
            body,
            headers=dict(headers),
            delivery_mode=DeliveryMode.PERSISTENT,
            user_id=addresses.broker_user(service),
        )
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(message, routing_key, mandatory=True)


async def test_no_service_quotes_a_fare_in_the_name_of_pricing(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    await control.kill("pricing", down_s=8.0)
    booking_id = await rider.prebook(uniform_plan(Coupling.ONE_WAY))
    forged = reply_headers(
        "quote_fare", booking_id, "prebook.fare_quoted.v1", message_id=f"{booking_id}.quote_fare.reply"
    )
    address = (addresses.EVENTS, addresses.reply_routing_key("notify_rider"))
    await publish(await read_amqp_url(control, "notification"), "notification", address, forged, FREE_FARE)
    (parked,) = await broker.collect_parked(1)
    assert parked.headers["prebook-x-cause"] == "forbidden_sender"
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    fare = (await rider.fetch_view(booking_id)).fare
    assert fare is not None
    assert fare.cents > 0


async def test_a_reply_with_the_id_of_another_booking_does_not_strand_that_booking(
    rider: RiderClient, database: DatabaseProbe, broker: BrokerProbe, control: ControlClient
) -> None:
    (settled_id,) = ids = await rider.prebook_all([uniform_plan(Coupling.ONE_WAY)])
    await database.verify_bookings(ids)
    url = await read_amqp_url(control, "pricing")
    await control.kill("pricing", down_s=8.0)
    booking_id = await rider.prebook(uniform_plan(Coupling.ONE_WAY))
    forged = reply_headers(
        "quote_fare", settled_id, "prebook.fare_quoted.v1", message_id=f"{booking_id}.quote_fare.reply"
    )
    address = (addresses.EVENTS, addresses.reply_routing_key("quote_fare"))
    await publish(url, "pricing", address, forged, FREE_FARE)
    (parked,) = await broker.collect_parked(1)
    assert parked.headers["prebook-x-cause"] == "foreign_id"
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
