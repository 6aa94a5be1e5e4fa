"""A header that has one value is sent once, at every service."""

import pytest

from prebook.http.repeated_headers import SINGLE_VALUED
from prebook.messaging.headers import FLOW_HEADER, MESSAGE_ID_HEADER
from tests.booking.booking_suite import BookingSuite, body
from tests.world import MEMBERS, SuiteWorld


@pytest.mark.parametrize("second", ["k2", "k1"])
async def test_two_idempotency_keys_are_refused_and_store_nothing(second: str) -> None:
    suite = BookingSuite()
    headers = [("Idempotency-Key", "k1"), ("idempotency-key", second)]
    async with suite.client() as client:
        response = await client.post("/v1/bookings", json=body(), headers=headers)

    assert (response.status_code, response.json()["code"]) == (400, "repeated_header")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"] == [{"pointer": "idempotency-key", "detail": "has 2 lines; send one"}]
    assert not suite.bookings


@pytest.mark.parametrize("service", MEMBERS)
@pytest.mark.parametrize("name", sorted(SINGLE_VALUED | {MESSAGE_ID_HEADER, FLOW_HEADER, "prebook-x-mine"}))
async def test_no_service_chooses_between_two_values_of_a_header(service: str, name: str) -> None:
    async with SuiteWorld() as world:
        for client in (world.http.client(service), world.http.internal_client(service)):
            response = await client.get("/livez", headers=[(name, "a"), (name, "b")])
            assert (response.status_code, response.json()["code"]) == (400, "repeated_header")


async def test_a_header_of_several_values_may_be_repeated() -> None:
    async with BookingSuite().client() as client:
        response = await client.get(
            "/livez", headers=[("accept", "a/b"), ("accept", "*/*"), ("via", "1"), ("via", "2")]
        )

    assert response.status_code == 200
