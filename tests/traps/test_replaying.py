"""Traps 5 to 7 and 15 of the reliability page: what is parked and sent again."""

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
async def test_trap_05_replay_keeps_exchange_and_key(broker: BrokerProbe, operations: httpx.AsyncClient) -> None:
    """arobson/rabbot#103: sent again through the default exchange, a message lost its address, and then itself."""
    message_id = "made-up.trap-05"
    await broker.send(
        addresses.REQUESTS, "quote_fare", WireMessage({**VALID_HEADERS, "ce-id": message_id}, b'{"pickup": 1}')
    )
    first = await _line(operations, message_id, times_parked=1)
    replay = await _replayed(operations, {"ids": [first["id"]]})

    again = await _line(operations, message_id, times_parked=2)
    assert (again["exchange"], again["routing_key"], again["queue"]) == (
        first["exchange"],
        first["routing_key"],
        first["queue"],
    )
    assert (again["exchange"], again["routing_key"]) == (addresses.REQUESTS, "quote_fare")
    assert again["id"] == first["id"], "it is the same message, back, and not another one"

    async def over() -> bool:
        return bool((await operations.get(f"/v1/replays/{replay}")).json()["ended_at"])

    await poll_until(over)
    await broker.collect_parked(1)


async def test_trap_06_a_replay_of_a_group_does_not_grow_while_it_runs(begin: Begin, receivers: Receivers) -> None:
    """Particular/ServiceControl#660: what came into the group meanwhile was sent with it."""
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 6)))
    async with operations_client(begin) as client:
        (group,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
        replay = await _replayed(client, {"where": {"failure_group": group["failure_group"]}})
        moving = receivers.make_runner()
        await moving.run_once()
        await record_dead_letters(begin, *(dead_letter(n) for n in range(6, 10)))
        await run_until_ended(moving)
        view = (await client.get(f"/v1/replays/{replay}")).json()
        (left,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
    assert (view["messages"], view["counts"]) == (5, {"resolved": 5})
    assert receivers.published_ids == [headers(n)["ce-id"] for n in range(1, 6)]
    assert (left["failure_group"], left["messages"]) == (group["failure_group"], 4), (
        "they wait for a replay of their own"
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
        (now,) = (await client.get("/v1/dead-letters/groups")).json()["groups"]
    assert (now["failure_group"], now["messages"]) == (group["failure_group"], 1)


async def test_trap_15_a_replay_is_cancelled_by_its_id(begin: Begin, receivers: Receivers) -> None:
    """floci-io/floci#3058: of two replays with one name, the wrong one was cancelled."""
    await record_dead_letters(begin, *(dead_letter(n) for n in range(1, 6)))
    async with operations_client(begin) as client:
        first = await _replayed(client, {"where": {"cause": CAUSE}})
        await record_dead_letters(begin, *(dead_letter(n) for n in range(6, 11)))
        second = await _replayed(client, {"where": {"cause": CAUSE}})
        assert first != second, "asked for in the same words"
        assert (await client.delete(f"/v1/replays/{second}")).status_code == 200
        await run_until_ended(receivers.make_runner())
        views = {name: (await client.get(f"/v1/replays/{name}")).json() for name in (first, second)}
    assert (views[first]["state"], views[first]["counts"]) == ("done", {"resolved": 5})
    assert (views[second]["state"], views[second]["counts"]) == ("cancelled", {"cancelled": 5})
    assert receivers.published_ids == [headers(n)["ce-id"] for n in range(1, 6)]


async def _replayed(client: httpx.AsyncClient, selection: dict[str, Any]) -> str:
    """The id. Forced: the examples are old."""
    begun = await client.post("/v1/replays", json={"selection": selection, "force": True})
    assert begun.status_code == 202, begun.text
    return str(begun.json()["id"])


async def _line(operations: httpx.AsyncClient, message_id: str, *, times_parked: int) -> dict[str, Any]:
    """The message, once it lies there and has been set aside so often."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        query = {"message_id": message_id, "in_state": "parked"}
        found[:] = (await operations.get("/v1/dead-letters", params=query)).json()["dead_letters"]
        return [line["times_parked"] for line in found] == [times_parked]

    await poll_until(there, 20)
    return found[0]
