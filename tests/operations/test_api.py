"""The API of operations, on a real PostgreSQL."""

import base64
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.dead_letters import DeadLetterView
from prebook.messaging.clock import utc_now
from tests.operations.examples import QUEUE, Begin, dead_letter, record_dead_letters
from tests.operations.receivers import Receivers, operations_client, run_until_ended

PROBLEM = "application/problem+json"


async def post(client: httpx.AsyncClient, path: str, body: Any, status: int) -> dict[str, Any]:
    response = await client.post(path, json=body)
    assert response.status_code == status, response.text
    assert status < 400 or response.headers["content-type"] == PROBLEM
    return dict(response.json())


async def test_pages_are_consecutive_and_complete(begin: Begin) -> None:
    ids = await record_dead_letters(begin, *(dead_letter(n) for n in range(5)))
    async with operations_client(begin) as client:
        found: list[int] = []
        after = "0"
        while after:
            page = (await client.get("/v1/dead-letters", params={"limit": 2, "after": after})).json()
            found += [summary["id"] for summary in page["dead_letters"]]
            after = page["next"]
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "limit"),
        ("after=x", "after"),
        ("in_state=gone", "in_state"),
        ("type=%00", "type"),
        ("cause=", "cause"),
        ("queue=%00", "queue"),
    ],
)
async def test_the_problem_names_an_invalid_parameter(begin: Begin, query: str, pointer: str) -> None:
    async with operations_client(begin) as client:
        response = await client.get(f"/v1/dead-letters?{query}")
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)
    assert pointer in [error["pointer"] for error in response.json()["errors"]]


@pytest.mark.parametrize(
    "path", ["/v1/dead-letters/1", "/v1/dead-letters/9223372036854775807", "/v1/replays/0123456789ab"]
)
async def test_an_unknown_id_is_not_found(begin: Begin, path: str) -> None:
    async with operations_client(begin) as client:
        response = await client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)


INVALID_REQUESTS: dict[str, tuple[str, Any, int]] = {
    "no selection": ("/v1/discards", {"reason": "r", "selection": {}}, 422),
    "two selections": ("/v1/restores", {"selection": {"ids": [1], "where": {}}}, 422),
    "no ids": ("/v1/replays", {"selection": {"ids": []}}, 422),
    "unknown field": ("/v1/replays", {"selection": {"where": {}}, "fast": True}, 422),
    "a rate of zero": ("/v1/replays", {"selection": {"where": {}}, "rate_per_s": 0}, 422),
    "nothing matches": ("/v1/replays", {"selection": {"where": {"cause": "none"}}}, 409),
    "no reason": ("/v1/discards", {"reason": "", "selection": {"where": {}}}, 422),
    "a note on an unknown id": ("/v1/dead-letters/1/notes", {"text": "t"}, 404),
    "an edit of an unknown id": ("/v1/dead-letters/1/versions", {"reason": "r"}, 404),
    "no base64": ("/v1/dead-letters/1/versions", {"reason": "r", "payload": {"base64": "?"}}, 422),
    "two payloads": ("/v1/dead-letters/1/versions", {"reason": "r", "payload": {"base64": "", "text": ""}}, 422),
}


@pytest.mark.parametrize("request_name", INVALID_REQUESTS)
async def test_an_invalid_request_is_refused_and_stores_nothing(
    begin: Begin, engine: AsyncEngine, request_name: str
) -> None:
    path, body, status = INVALID_REQUESTS[request_name]
    async with operations_client(begin) as client:
        await post(client, path, body, status)
    async with engine.connect() as connection:
        for table in ("dead_letter", "replay", "dead_letter_note", "dead_letter_version"):
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar() == 0  # noqa: S608


async def test_notes_and_binary_edits_are_stored(begin: Begin) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter(body=b"\xff"))
    async with operations_client(begin) as client:
        path = f"/v1/dead-letters/{dead_letter_id}"
        await post(client, f"{path}/notes", {"text": "seen"}, 201)
        payload = {"base64": base64.b64encode(b"\xfe").decode()}
        found = await post(client, f"{path}/versions", {"reason": "r", "payload": payload}, 201)
    assert [note["text"] for note in found["notes"]] == ["seen"]
    assert (found["payload"]["base64"], found["versions"][0]["payload"]["base64"]) == ("/w==", "/g==")


async def test_a_discarded_message_must_be_restored_before_an_edit_or_a_replay(begin: Begin) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    only = {"selection": {"ids": [dead_letter_id]}}
    async with operations_client(begin) as client:
        assert (await post(client, "/v1/discards", {**only, "reason": "r"}, 200))["ids"] == [dead_letter_id]
        await post(client, f"/v1/dead-letters/{dead_letter_id}/versions", {"reason": "r"}, 409)
        assert "restore it" in (await post(client, "/v1/replays", {**only, "force": True}, 409))["detail"]
        assert (await post(client, "/v1/restores", only, 200))["ids"] == [dead_letter_id]
        await post(client, "/v1/replays", {**only, "force": True}, 202)


async def test_a_dry_run_reports_what_would_be_sent_and_stores_nothing(begin: Begin) -> None:
    await record_dead_letters(
        begin, *(dead_letter(n) for n in range(1, 5)), dead_letter(5, ce_id=""), dead_letter(6, queue="unknown.queue")
    )
    body = {"selection": {"where": {}}, "dry_run": True, "force": True}
    async with operations_client(begin) as client:
        plan = await post(client, "/v1/replays", body, 200)
        assert (await client.get("/v1/replays")).json() == {"replays": []}
        summaries = (await client.get("/v1/dead-letters")).json()["dead_letters"]
    assert (plan["state"], plan["messages"], plan["batches"]) == ("dry_run", 4, [1, 2, 1])
    assert {(group["messages"], group["reason"].split(";")[0][:12]) for group in plan["ineligible"]} == {
        (1, "it has no us"),
        (1, "no service c"),
    }
    assert {summary["state"] for summary in summaries} == {"parked"}


async def test_each_message_is_in_one_live_replay_only(begin: Begin) -> None:
    ids = await record_dead_letters(begin, dead_letter(1), dead_letter(2))
    async with operations_client(begin) as client:
        await post(client, "/v1/replays", {"selection": {"ids": ids[:1]}, "force": True}, 202)
        other = await post(client, "/v1/replays", {"selection": {"ids": ids}, "force": True}, 202)
    assert (other["messages"], other["ineligible"][0]["ids"]) == (1, ids[:1])
    assert "another replay" in other["ineligible"][0]["reason"]


async def test_a_message_outside_the_inbox_window_is_ineligible_unless_forced_and_then_counted(begin: Begin) -> None:
    old = (utc_now() - timedelta(days=8)).isoformat()
    await record_dead_letters(
        begin, dead_letter(1, ce_time=old), dead_letter(2, ce_time=utc_now().isoformat()), now=utc_now()
    )
    selection = {"selection": {"where": {"queue": QUEUE}}}
    async with operations_client(begin) as client:
        plan = await post(client, "/v1/replays", {**selection, "dry_run": True}, 200)
        assert (plan["messages"], plan["ineligible"][0]["messages"], plan["beyond_retention"]) == (1, 1, 0)
        started = await post(client, "/v1/replays", {**selection, "force": True}, 202)
        await run_until_ended(Receivers(begin).make_runner())
        view = (await client.get(f"/v1/replays/{started['id']}")).json()
    assert (view["counts"], view["beyond_retention"]) == ({"resolved": 2}, 1)


async def test_the_export_contains_every_message_in_full(begin: Begin) -> None:
    ids = await record_dead_letters(begin, *(dead_letter(n) for n in range(7)))
    async with operations_client(begin) as client:
        await post(client, "/v1/discards", {"selection": {"ids": ids[:2]}, "reason": "r"}, 200)
        response = await client.get("/v1/dead-letters/export")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    views = [msgspec.json.decode(line, type=DeadLetterView) for line in response.content.splitlines()]
    assert [view.summary.id for view in views] == ids[::-1]


async def test_failure_groups_count_messages_by_state(begin: Begin) -> None:
    ids = await record_dead_letters(begin, dead_letter(1), dead_letter(2), dead_letter(3, prebook_x_cause="bad_json"))
    async with operations_client(begin) as client:
        await post(client, "/v1/discards", {"selection": {"ids": ids[2:]}, "reason": "r"}, 200)
        parked = (await client.get("/v1/dead-letters/groups")).json()
        discarded = (await client.get("/v1/dead-letters/groups?in_state=discarded")).json()
    ((group,), (other,)) = (parked["groups"], discarded["groups"])
    assert (group["messages"], group["cause"], group["queue"]) == (2, "attempts_exhausted", QUEUE)
    assert group["error"].startswith("ProgrammingError: no table")
    assert (other["messages"], other["cause"]) == (1, "bad_json")
