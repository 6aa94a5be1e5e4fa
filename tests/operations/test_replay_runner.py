"""Replays on a real PostgreSQL, with receivers in memory."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.dead_letters import DeadLetterState
from prebook.messaging import addresses
from prebook.messaging.errors import Undeliverable, Unreachable
from tests.operations.examples import NOW, QUEUE, Begin, dead_letter, headers, record_dead_letters
from tests.operations.receivers import Receivers, operations_client, run_until_ended

ALL: dict[str, Any] = {"where": {}}


@pytest.fixture
def receivers(begin: Begin) -> Receivers:
    return Receivers(begin)


async def start_replay(client: httpx.AsyncClient, selection: Any = ALL, **options: Any) -> str:
    """Start a replay and return its id. The replay is forced, because the examples are older than the inbox window."""
    response = await client.post("/v1/replays", json={"selection": selection, "force": True, **options})
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/replays/{response.json()['id']}"
    return str(response.json()["id"])


async def read_replay(client: httpx.AsyncClient, replay_id: str) -> dict[str, Any]:
    response = await client.get(f"/v1/replays/{replay_id}")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def list_states(client: httpx.AsyncClient) -> list[str]:
    """Return the states of all dead letters, the first one parked first."""
    every = "&".join(f"in_state={state}" for state in DeadLetterState)
    return [
        summary["state"]
        for summary in (await client.get(f"/v1/dead-letters?{every}&limit=1000")).json()["dead_letters"]
    ][::-1]


async def test_a_replay_sends_growing_batches_in_order_and_the_inbox_resolves_them(
    begin: Begin, receivers: Receivers
) -> None:
    await record_dead_letters(begin, *(dead_letter(n) for n in range(40, 0, -1)))
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        assert set(await list_states(client)) == {"replaying"}
        await run_until_ended(receivers.make_runner())
        view = await read_replay(client, replay_id)
        assert set(await list_states(client)) == {"resolved"}
    assert (view["state"], view["counts"], view["batches"]) == ("done", {"resolved": 40}, [1, 2, 5, 20, 12])
    assert receivers.published_ids == [headers(n)["ce-id"] for n in range(1, 41)], "in the order of event times"
    assert set(receivers.targets) == {(addresses.REQUESTS, "quote_fare")}
    assert {wire.headers["prebook-x-replay-id"] for wire in receivers.published} == {replay_id}


async def test_a_second_replay_of_resolved_messages_is_refused(begin: Begin, receivers: Receivers) -> None:
    ids = await record_dead_letters(begin, dead_letter())
    async with operations_client(begin) as client:
        await start_replay(client)
        await run_until_ended(receivers.make_runner())
        response = await client.post("/v1/replays", json={"selection": {"ids": ids}, "force": True})
    assert (response.status_code, response.json()["code"]) == (409, "nothing_to_replay")
    assert "resolved already" in response.json()["detail"]


async def test_a_replay_stops_when_a_message_fails_again_for_the_same_cause(begin: Begin, receivers: Receivers) -> None:
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 11)))
    receivers.failing_ids = {headers(2)["ce-id"]}
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await run_until_ended(receivers.make_runner())
        view = await read_replay(client, replay_id)
        assert await list_states(client) == ["resolved", "parked", "resolved", *["parked"] * 7]
        (failed,) = (await client.get(f"/v1/dead-letters?message_id={headers(2)['ce-id']}")).json()["dead_letters"]
    assert (view["state"], view["counts"]) == ("stopped", {"resolved": 2, "failed_again": 1, "cancelled": 7})
    assert "same cause" in view["reason"]
    assert (failed["times_parked"], failed["error"]) == (2, "ProgrammingError: again")


@pytest.mark.parametrize("options", [{"keep_going": True}, {}])
async def test_a_replay_goes_on_with_keep_going_or_after_another_cause(
    begin: Begin, receivers: Receivers, options: dict[str, bool]
) -> None:
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 6)))
    receivers.failing_ids = {headers(1)["ce-id"]}
    receivers.cause = "attempts_exhausted" if options else "another"
    async with operations_client(begin) as client:
        replay_id = await start_replay(client, **options)
        await run_until_ended(receivers.make_runner())
        view = await read_replay(client, replay_id)
    assert (view["state"], view["counts"]) == ("done", {"resolved": 4, "failed_again": 1})


async def test_messages_behind_a_failure_of_their_conversation_are_blocked(begin: Begin, receivers: Receivers) -> None:
    same = [dead_letter(n, ce_subject="b", ce_id=f"b.{n}") for n in range(1, 4)]
    await record_dead_letters(begin, *same, dead_letter(9))
    receivers.failing_ids = {"b.2"}
    async with operations_client(begin) as client:
        replay_id = await start_replay(client, keep_going=True)
        await run_until_ended(receivers.make_runner())
        view = await read_replay(client, replay_id)
        assert await list_states(client) == ["resolved", "parked", "parked", "resolved"]
    assert view["counts"] == {"resolved": 2, "failed_again": 1, "blocked": 1}
    assert "b.3" not in receivers.published_ids


async def test_one_message_of_a_conversation_is_in_flight_at_a_time(begin: Begin, receivers: Receivers) -> None:
    await record_dead_letters(begin, *(dead_letter(n, ce_subject="b", ce_id=f"b.{n}") for n in range(1, 6)))
    receivers.lost_ids = {"b.2"}
    runner = receivers.make_runner()
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        for _ in range(8):
            await runner.run_once()
        assert receivers.published_ids == ["b.1", "b.2"], "the third waits for the second"
        assert (await read_replay(client, replay_id))["counts"] == {"requested": 3, "in_flight": 1, "resolved": 1}
        await receivers.handle(receivers.published[-1])
        await run_until_ended(runner)
    assert receivers.published_ids == [f"b.{n}" for n in range(1, 6)]


async def test_after_a_crash_another_process_sends_what_was_not_confirmed(
    begin: Begin, engine: AsyncEngine, receivers: Receivers
) -> None:
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 4)))
    async with operations_client(begin) as client:
        replay_id = await start_replay(client, rate_per_s=100)
        receivers.error = Unreachable("the broker is down")
        await receivers.make_runner("killed").run_once()
        assert (await read_replay(client, replay_id))["counts"]["in_flight"] > 0, "dispatched, and not sent"
        receivers.error = None
        successor = receivers.make_runner("successor")
        assert await successor.run_once() is None, "the lease has not ended"
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE replay SET leased_until = now() - interval '1 s'"))
        await run_until_ended(successor)
        view = await read_replay(client, replay_id)
    assert (view["state"], view["counts"]) == ("done", {"resolved": 3})
    assert sorted(receivers.published_ids) == sorted(headers(n)["ce-id"] for n in range(1, 4))


async def test_a_message_in_the_receivers_inbox_is_resolved_without_being_sent(
    begin: Begin, receivers: Receivers
) -> None:
    await record_dead_letters(begin, dead_letter(1), dead_letter(2))
    receivers.inbox[headers(1)["ce-id"]] = NOW
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await run_until_ended(receivers.make_runner())
        view = await read_replay(client, replay_id)
    assert (view["counts"], view["duplicates"]) == ({"resolved": 2}, 1)
    assert receivers.published_ids == [headers(2)["ce-id"]]


async def test_a_cancelled_replay_sends_nothing_more_and_waits_for_messages_in_flight(
    begin: Begin, receivers: Receivers
) -> None:
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 4)))
    receivers.lost_ids = {headers(1)["ce-id"]}
    runner = receivers.make_runner()
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await runner.run_once()
        cancelled = (await client.delete(f"/v1/replays/{replay_id}")).json()
        assert (cancelled["state"], cancelled["counts"]) == ("draining", {"in_flight": 1, "cancelled": 2})
        await runner.run_once()
        assert (await read_replay(client, replay_id))["state"] == "draining"
        await receivers.handle(receivers.published[0])
        await run_until_ended(runner)
        assert (await read_replay(client, replay_id))["state"] == "cancelled"
        assert await list_states(client) == ["resolved", "parked", "parked"]
        again = await client.delete(f"/v1/replays/{replay_id}")
    assert (again.status_code, again.json()["code"]) == (409, "ended")
    assert receivers.published_ids == [headers(1)["ce-id"]]


async def test_a_redelivery_without_an_outcome_is_unconfirmed_and_can_be_replayed(
    begin: Begin, engine: AsyncEngine, receivers: Receivers
) -> None:
    await record_dead_letters(begin, dead_letter())
    receivers.lost_ids = {headers()["ce-id"]}
    runner = receivers.make_runner()
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await runner.run_once()
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE redelivery SET sent_at = now() - interval '1 hour'"))
        await run_until_ended(runner)
        assert (await read_replay(client, replay_id))["counts"] == {"unconfirmed": 1}
        receivers.lost_ids = set()
        await start_replay(client)
        await run_until_ended(runner)
        assert await list_states(client) == ["resolved"]


async def test_an_unroutable_message_is_parked_again(begin: Begin, receivers: Receivers) -> None:
    await record_dead_letters(begin, dead_letter())
    receivers.error = Undeliverable("no queue")
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await run_until_ended(receivers.make_runner())
        assert (await read_replay(client, replay_id))["counts"] == {"refused": 1}
        assert await list_states(client) == ["parked"]


async def test_a_planted_target_is_refused_and_nothing_is_sent_there(begin: Begin, receivers: Receivers) -> None:
    planted = dead_letter(prebook_x_exchange=addresses.REPLIES, prebook_x_routing_key="booking.quote_fare")
    (dead_letter_id,) = await record_dead_letters(begin, planted)
    async with operations_client(begin) as client:
        refused = await client.post("/v1/replays", json={"selection": {"ids": [dead_letter_id]}, "force": True})
        assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_replay")
        assert "first target does not lead to the queue" in refused.json()["detail"]
        edit = {"reason": "to its own queue", "headers": {"prebook-x-exchange": None}}
        assert (await client.post(f"/v1/dead-letters/{dead_letter_id}/versions", json=edit)).status_code == 201
        await start_replay(client)
        await run_until_ended(receivers.make_runner())
        assert await list_states(client) == ["resolved"]
    assert receivers.targets == [(addresses.REDELIVER, QUEUE)]


@pytest.mark.parametrize("error", [Undeliverable("PRECONDITION_FAILED - message size"), ValueError("not encodable")])
async def test_a_message_that_cannot_be_published_is_refused_with_the_words_of_the_broker(
    begin: Begin, receivers: Receivers, error: Exception
) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    receivers.error = error
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await run_until_ended(receivers.make_runner())
        view = await read_replay(client, replay_id)
        assert await list_states(client) == ["parked"]
    assert (view["state"], view["counts"]) == ("done", {"refused": 1})
    (refused,) = view["refused"]
    assert (refused["messages"], refused["ids"]) == (1, [dead_letter_id])
    assert str(error).split()[0] in refused["reason"]


async def test_a_message_that_could_not_be_sent_for_long_ends_its_replay(
    begin: Begin, engine: AsyncEngine, receivers: Receivers
) -> None:
    await record_dead_letters(begin, dead_letter())
    receivers.error = Unreachable("the connection is lost at every attempt")
    runner = receivers.make_runner()
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await runner.run_once()
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE redelivery SET dispatched_at = now() - interval '1 hour'"))
        await run_until_ended(runner)
        assert (await read_replay(client, replay_id))["counts"] == {"unconfirmed": 1}
        assert await list_states(client) == ["parked"]


async def test_a_cancelled_replay_does_not_wait_for_what_cannot_be_sent(begin: Begin, receivers: Receivers) -> None:
    await record_dead_letters(begin, dead_letter(1), dead_letter(2))
    receivers.error = Unreachable("the connection is lost at every attempt")
    runner = receivers.make_runner()
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await runner.run_once()
        cancelled = (await client.delete(f"/v1/replays/{replay_id}")).json()
        assert cancelled["counts"] == {"cancelled": 2}
        await run_until_ended(runner)
        assert (await read_replay(client, replay_id))["state"] == "cancelled"
        assert await list_states(client) == ["parked", "parked"]


async def test_messages_parked_later_do_not_join_a_running_replay(begin: Begin, receivers: Receivers) -> None:
    await record_dead_letters(begin, dead_letter(1))
    async with operations_client(begin) as client:
        replay_id = await start_replay(client)
        await record_dead_letters(begin, dead_letter(2))
        await run_until_ended(receivers.make_runner())
        assert (await read_replay(client, replay_id))["messages"] == 1
        assert await list_states(client) == ["resolved", "parked"]


async def test_a_replay_sends_the_edited_version_and_a_new_failure_belongs_to_the_same_dead_letter(
    begin: Begin, receivers: Receivers
) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter(body=b"{"))
    async with operations_client(begin) as client:
        edit = {"reason": "complete it", "payload": {"text": "{}"}, "headers": {"ce-id": "b1.fixed"}}
        assert (await client.post(f"/v1/dead-letters/{dead_letter_id}/versions", json=edit)).status_code == 201
        receivers.failing_ids = {"b1.fixed"}
        await start_replay(client)
        await run_until_ended(receivers.make_runner())
        found = (await client.get(f"/v1/dead-letters/{dead_letter_id}")).json()
        assert await list_states(client) == ["parked"]
    assert (found["summary"]["times_parked"], found["summary"]["version"], found["payload"]["text"]) == (2, 1, "{")
    assert receivers.published[0].body == b"{}"
