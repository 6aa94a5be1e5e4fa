"""Traps 5 to 7 and 15: dead letters and their replay."""

from typing import Any

import httpx
import pytest

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import poll_until
from tests.integration.broker_probe import BrokerProbe
from tests.integration.test_messages import VALID_HEADERS
from tests.operations.examples import Begin, dead_letter, headers, record_dead_letters
from tests.operations.receivers import Receivers, operations_client, run_until_ended

CAUSE = "attempts_exhausted"


@pytest.mark.real
async def test_trap_05_a_replay_keeps_exchange_and_routing_key(
    broker: BrokerProbe, operations: httpx.AsyncClient
) -> None:
    """arobson/rabbot#103: a message replayed through the default exchange lost its address, and then was lost."""
    message_id = "made-up.trap-05"
    await broker.send(
        addresses.REQUESTS, "quote_fare", WireMessage({**VALID_HEADERS, "ce-id": message_id}, b'{"pickup": 1}')
    )
    first = await _wait_for_dead_letter(operations, message_id, times_parked=1)
    replay = await _start_replay(operations, {"ids": [first["id"]]})

    replayed = await _wait_for_dead_letter(operations, message_id, times_parked=2)
    assert (replayed["exchange"], replayed["routing_key"], replayed["queue"]) == (
        first["exchange"],
        first["routing_key"],
        first["queue"],
    )
    assert (replayed["exchange"], replayed["routing_key"]) == (addresses.REQUESTS, "quote_fare")
    assert replayed["id"] == first["id"], "the replayed message is the same dead letter"

    async def has_ended() -> bool:
        return bool((await operations.get(f"/v1/replays/{replay}")).json()["ended_at"])

    await poll_until(has_ended)
    await broker.collect_parked(1)


async def test_trap_06_a_replay_of_a_group_does_not_grow_while_it_runs(begin: Begin, receivers: Receivers) -> None:
    """Particular/ServiceControl#660: messages that joined the group during the replay were sent as well."""
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 6)))
    async with operations_client(begin) as client:
        (group,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
        replay = await _start_replay(client, {"where": {"failure_group": group["failure_group"]}})
        runner = receivers.make_runner()
        await runner.run_once()
        await record_dead_letters(begin, *(dead_letter(n) for n in range(6, 10)))
        await run_until_ended(runner)
        view = (await client.get(f"/v1/replays/{replay}")).json()
        (remaining,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
    assert (view["messages"], view["counts"]) == (5, {"resolved": 5})
    assert receivers.published_ids == [headers(n)["ce-id"] for n in range(1, 6)]
    assert (remaining["failure_group"], remaining["messages"]) == (group["failure_group"], 4), (
        "later messages need their own replay"
    )


async def test_trap_07_discarding_a_group_hides_no_later_failure(begin: Begin) -> None:
    """Particular/ServicePulse#240: after a group was archived, new failures of the same cause did not show."""
    await record_dead_letters(begin, dead_letter(1), dead_letter(2))
    async with operations_client(begin) as client:
        (group,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
        body = {"selection": {"where": {"failure_group": group["failure_group"]}}, "reason": "old"}
        assert len((await client.post("/v1/discards", json=body)).json()["ids"]) == 2
        assert (await client.get("/v1/dead-letters/groups")).json()["groups"] == []
        await record_dead_letters(begin, dead_letter(3))
        (later,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
    assert (later["failure_group"], later["messages"]) == (group["failure_group"], 1)


async def test_trap_15_a_replay_is_cancelled_by_its_id(begin: Begin, receivers: Receivers) -> None:
    """floci-io/floci#3058: of two replays with one name, the wrong one was cancelled."""
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 6)))
    async with operations_client(begin) as client:
        first = await _start_replay(client, {"where": {"cause": CAUSE}})
        await record_dead_letters(begin, *(dead_letter(n) for n in range(6, 11)))
        second = await _start_replay(client, {"where": {"cause": CAUSE}})
        assert first != second, "equal selections make different replays"
        assert (await client.delete(f"/v1/replays/{second}")).status_code == 200
        await run_until_ended(receivers.make_runner())
        views = {name: (await client.get(f"/v1/replays/{name}")).json() for name in (first, second)}
    assert (views[first]["state"], views[first]["counts"]) == ("done", {"resolved": 5})
    assert (views[second]["state"], views[second]["counts"]) == ("cancelled", {"cancelled": 5})
    assert receivers.published_ids == [headers(n)["ce-id"] for n in range(1, 6)]


async def _start_replay(client: httpx.AsyncClient, selection: dict[str, Any]) -> str:
    """Start a replay and return its id. It is forced, because the examples are old."""
    response = await client.post("/v1/replays", json={"selection": selection, "force": True})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


async def _wait_for_dead_letter(operations: httpx.AsyncClient, message_id: str, *, times_parked: int) -> dict[str, Any]:
    """Wait until a message has been parked ``times_parked`` times, and return its dead letter."""
    dead_letters: list[dict[str, Any]] = []

    async def is_parked() -> bool:
        query = {"message_id": message_id, "in_state": "parked"}
        dead_letters[:] = (await operations.get("/v1/dead-letters", params=query)).json()["dead_letters"]
        return [line["times_parked"] for line in dead_letters] == [times_parked]

    await poll_until(is_parked, 20)
    return dead_letters[0]
