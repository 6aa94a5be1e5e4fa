"""Replays on a real PostgreSQL, with receivers in memory."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.dead_letters import DeadLetterState
from prebook.messaging import addresses
from tests.operations.parcels import NOW, Begin, headers, parcel, taken_in
from tests.operations.receiving import Receivers, operator, until_over

ALL: dict[str, Any] = {"where": {}}


@pytest.fixture
def receivers(begin: Begin) -> Receivers:
    return Receivers(begin)


async def begun(client: httpx.AsyncClient, selection: Any = ALL, **terms: Any) -> str:
    """Its id. The examples are old, so that it is forced where the test is not about that."""
    response = await client.post("/v1/replays", json={"selection": selection, "force": True, **terms})
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/replays/{response.json()['id']}"
    return str(response.json()["id"])


async def told(client: httpx.AsyncClient, replay_id: str) -> dict[str, Any]:
    response = await client.get(f"/v1/replays/{replay_id}")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def states(client: httpx.AsyncClient) -> list[str]:
    """Of all messages, the first one parked first."""
    every = "&".join(f"in_state={state}" for state in DeadLetterState)
    return [
        line["state"] for line in (await client.get(f"/v1/dead-letters?{every}&limit=1000")).json()["dead_letters"]
    ][::-1]


async def test_a_replay_grows_keeps_the_order_and_is_resolved_by_the_inbox(begin: Begin, receivers: Receivers) -> None:
    await taken_in(begin, *(parcel(n) for n in range(40, 0, -1)))
    async with operator(begin) as client:
        replay_id = await begun(client)
        assert set(await states(client)) == {"replaying"}
        await until_over(receivers.replaying())
        view = await told(client, replay_id)
        assert set(await states(client)) == {"resolved"}
    assert (view["state"], view["counts"], view["batches"]) == ("done", {"resolved": 40}, [1, 2, 5, 20, 12])
    assert receivers.ids == [headers(n)["ce-id"] for n in range(1, 41)], "as they were said, not as they were parked"
    assert set(receivers.addresses) == {(addresses.REQUESTS, "quote_fare")}
    assert {wire.headers["prebook-x-replay-id"] for wire in receivers.heard} == {replay_id}


async def test_a_second_replay_has_nothing_to_send(begin: Begin, receivers: Receivers) -> None:
    ids = await taken_in(begin, parcel())
    async with operator(begin) as client:
        await begun(client)
        await until_over(receivers.replaying())
        response = await client.post("/v1/replays", json={"selection": {"ids": ids}, "force": True})
    assert (response.status_code, response.json()["code"]) == (409, "nothing_to_replay")
    assert "resolved already" in response.json()["detail"]


async def test_it_stops_when_the_same_cause_comes_back(begin: Begin, receivers: Receivers) -> None:
    await taken_in(begin, *(parcel(n) for n in range(1, 11)))
    receivers.failing = {headers(2)["ce-id"]}
    async with operator(begin) as client:
        replay_id = await begun(client)
        await until_over(receivers.replaying())
        view = await told(client, replay_id)
        assert await states(client) == ["resolved", "parked", "resolved", *["parked"] * 7]
        (failed,) = (await client.get(f"/v1/dead-letters?message_id={headers(2)['ce-id']}")).json()["dead_letters"]
    assert (view["state"], view["counts"]) == ("stopped", {"resolved": 2, "failed_again": 1, "cancelled": 7})
    assert "same cause" in view["reason"]
    assert (failed["times_parked"], failed["error"]) == (2, "ProgrammingError: again")


@pytest.mark.parametrize("terms", [{"keep_going": True}, {}])
async def test_it_goes_on_when_told_to_or_when_the_cause_is_another(
    begin: Begin, receivers: Receivers, terms: dict[str, bool]
) -> None:
    await taken_in(begin, *(parcel(n) for n in range(1, 6)))
    receivers.failing, receivers.cause = {headers(1)["ce-id"]}, "attempts_exhausted" if terms else "another"
    async with operator(begin) as client:
        replay_id = await begun(client, **terms)
        await until_over(receivers.replaying())
        view = await told(client, replay_id)
    assert (view["state"], view["counts"]) == ("done", {"resolved": 4, "failed_again": 1})


async def test_what_stands_behind_a_failure_in_its_conversation_is_held(begin: Begin, receivers: Receivers) -> None:
    same = [parcel(n, ce_subject="b", ce_id=f"b.{n}") for n in range(1, 4)]
    await taken_in(begin, *same, parcel(9))
    receivers.failing = {"b.2"}
    async with operator(begin) as client:
        replay_id = await begun(client, keep_going=True)
        await until_over(receivers.replaying())
        view = await told(client, replay_id)
        assert await states(client) == ["resolved", "parked", "parked", "resolved"]
    assert view["counts"] == {"resolved": 2, "failed_again": 1, "blocked": 1}
    assert "b.3" not in receivers.ids


async def test_one_of_a_conversation_is_in_flight_at_a_time(begin: Begin, receivers: Receivers) -> None:
    await taken_in(begin, *(parcel(n, ce_subject="b", ce_id=f"b.{n}") for n in range(1, 6)))
    receivers.lost = {"b.2"}
    replaying = receivers.replaying()
    async with operator(begin) as client:
        replay_id = await begun(client)
        for _ in range(8):
            await replaying.run_once()
        assert receivers.ids == ["b.1", "b.2"], "the third waits for the second"
        assert (await told(client, replay_id))["counts"] == {"requested": 3, "in_flight": 1, "resolved": 1}
        await receivers.handle(receivers.heard[-1])
        await until_over(replaying)
    assert receivers.ids == [f"b.{n}" for n in range(1, 6)]


async def test_a_killed_process_is_followed_by_another_that_sends_what_was_not_confirmed(
    begin: Begin, engine: AsyncEngine, receivers: Receivers
) -> None:
    await taken_in(begin, *(parcel(n) for n in range(1, 4)))
    async with operator(begin) as client:
        replay_id = await begun(client, rate_per_s=100)
        receivers.is_down = True
        await receivers.replaying("killed").run_once()
        assert (await told(client, replay_id))["counts"]["in_flight"] > 0, "marked, and not sent"
        receivers.is_down = False
        heir = receivers.replaying("heir")
        assert await heir.run_once() is None, "the lease is respected"
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE replay SET leased_until = now() - interval '1 s'"))
        await until_over(heir)
        view = await told(client, replay_id)
    assert (view["state"], view["counts"]) == ("done", {"resolved": 3})
    assert sorted(receivers.ids) == sorted(headers(n)["ce-id"] for n in range(1, 4))


async def test_what_its_receiver_has_admitted_is_not_sent(begin: Begin, receivers: Receivers) -> None:
    await taken_in(begin, parcel(1), parcel(2))
    receivers.inbox[headers(1)["ce-id"]] = NOW
    async with operator(begin) as client:
        replay_id = await begun(client)
        await until_over(receivers.replaying())
        view = await told(client, replay_id)
    assert (view["counts"], view["duplicates"]) == ({"resolved": 2}, 1)
    assert receivers.ids == [headers(2)["ce-id"]]


async def test_cancelling_sends_nothing_more_and_waits_for_what_is_in_flight(
    begin: Begin, receivers: Receivers
) -> None:
    await taken_in(begin, *(parcel(n) for n in range(1, 4)))
    receivers.lost = {headers(1)["ce-id"]}
    replaying = receivers.replaying()
    async with operator(begin) as client:
        replay_id = await begun(client)
        await replaying.run_once()
        cancelled = (await client.delete(f"/v1/replays/{replay_id}")).json()
        assert (cancelled["state"], cancelled["counts"]) == ("draining", {"in_flight": 1, "cancelled": 2})
        await replaying.run_once()
        assert (await told(client, replay_id))["state"] == "draining"
        await receivers.handle(receivers.heard[0])
        await until_over(replaying)
        assert (await told(client, replay_id))["state"] == "cancelled"
        assert await states(client) == ["resolved", "parked", "parked"]
        again = await client.delete(f"/v1/replays/{replay_id}")
    assert (again.status_code, again.json()["code"]) == (409, "ended")
    assert receivers.ids == [headers(1)["ce-id"]]


async def test_what_is_never_heard_of_is_unconfirmed_and_can_be_replayed(
    begin: Begin, engine: AsyncEngine, receivers: Receivers
) -> None:
    await taken_in(begin, parcel())
    receivers.lost = {headers()["ce-id"]}
    replaying = receivers.replaying()
    async with operator(begin) as client:
        replay_id = await begun(client)
        await replaying.run_once()
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE replay_item SET sent_at = now() - interval '1 hour'"))
        await until_over(replaying)
        assert (await told(client, replay_id))["counts"] == {"unconfirmed": 1}
        receivers.lost = set()
        await begun(client)
        await until_over(replaying)
        assert await states(client) == ["resolved"]


async def test_what_the_broker_routes_nowhere_is_refused(begin: Begin, receivers: Receivers) -> None:
    await taken_in(begin, parcel())
    receivers.routes = False
    async with operator(begin) as client:
        replay_id = await begun(client)
        await until_over(receivers.replaying())
        assert (await told(client, replay_id))["counts"] == {"unroutable": 1}
        assert await states(client) == ["parked"]


async def test_a_snapshot_does_not_grow(begin: Begin, receivers: Receivers) -> None:
    await taken_in(begin, parcel(1))
    async with operator(begin) as client:
        replay_id = await begun(client)
        await taken_in(begin, parcel(2))
        await until_over(receivers.replaying())
        assert (await told(client, replay_id))["messages"] == 1
        assert await states(client) == ["resolved", "parked"]


async def test_an_edited_version_is_sent_and_failing_once_more_is_noted_at_the_same_message(
    begin: Begin, receivers: Receivers
) -> None:
    (dead_letter_id,) = await taken_in(begin, parcel(body=b"{"))
    async with operator(begin) as client:
        edit = {"reason": "complete it", "payload": {"text": "{}"}, "headers": {"ce-id": "b1.fixed"}}
        assert (await client.post(f"/v1/dead-letters/{dead_letter_id}/versions", json=edit)).status_code == 201
        receivers.failing = {"b1.fixed"}
        await begun(client)
        await until_over(receivers.replaying())
        found = (await client.get(f"/v1/dead-letters/{dead_letter_id}")).json()
        assert await states(client) == ["parked"]
    assert (found["summary"]["times_parked"], found["summary"]["version"], found["payload"]["text"]) == (2, 1, "{")
    assert receivers.heard[0].body == b"{}"
