"""Operations refuses web pages, rebound hosts and strangers, and records who made each change."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from litestar import Litestar, Router

from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterState
from prebook.http.operator_guard import OPERATOR_HEADER
from prebook.operations.app import SERVICE
from prebook.testing.configuration import make_settings
from prebook.testing.http import open_client
from prebook.testing.single import assemble_alone
from tests.operations.examples import Begin, dead_letter, record_dead_letters
from tests.operations.receivers import OPERATOR, OPERATOR_TOKEN, operations_client

DISCARD_ALL = b'{"selection":{"where":{}},"reason":"x"}'
JSON = {"content-type": "application/json"}
TOKEN = {"authorization": f"Bearer {OPERATOR_TOKEN}"}


def operations_routes(begin: Begin) -> list[tuple[str, str]]:
    """Return method and path of each public route of operations, from its route table."""
    routes = list(assemble_alone(SERVICE, begin).routes)
    assert all(isinstance(route, Router) for route in routes), "every route is behind the guard"
    ids = {"{dead_letter_id}": "1", "{replay_id}": "0123456789ab"}
    found: list[tuple[str, str]] = []
    for route in Litestar(routes, openapi_config=None).routes:
        path = route.path_format
        for name, value in ids.items():
            path = path.replace(name, value)
        found += [(method, path) for method in sorted(route.methods - {"OPTIONS"})]
    return found


REFUSALS: Mapping[str, tuple[dict[str, str], int, str]] = {
    "without a token": ({}, 401, "unauthorized"),
    "with a wrong token": ({"authorization": "Bearer wrong"}, 401, "unauthorized"),
    "with an empty token": ({"authorization": "Bearer "}, 401, "unauthorized"),
    "with basic credentials": ({"authorization": f"Basic {OPERATOR_TOKEN}"}, 401, "unauthorized"),
    "to a rebound host": ({**TOKEN, "host": "evil.example"}, 421, "unknown_host"),
    "to a host that begins like ours": ({**TOKEN, "host": "localhost.evil.example:8082"}, 421, "unknown_host"),
    "from a page of another origin": ({**TOKEN, "origin": "https://evil.example"}, 403, "foreign_origin"),
    "from a page of another port": ({**TOKEN, "origin": "http://operations:3000"}, 403, "foreign_origin"),
    "from an origin that is none": ({**TOKEN, "origin": "http://[::1"}, 403, "foreign_origin"),
    "from a sandboxed page": ({**TOKEN, "origin": "null"}, 403, "foreign_origin"),
    "of a nameless operator": ({**TOKEN, OPERATOR_HEADER: "a b"}, 400, "invalid_operator"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_no_route_of_operations_serves_a_request(begin: Begin, case: str) -> None:
    headers, status, code = REFUSALS[case]
    async with operations_client(begin) as client:
        del client.headers["authorization"]
        routes = operations_routes(begin)
        responses = [await client.request(m, path, content=b"{}", headers={**JSON, **headers}) for m, path in routes]
    assert len(routes) > 8
    assert {(r.status_code, r.json()["code"]) for r in responses} == {(status, code)}
    assert {r.headers["content-type"] for r in responses} == {"application/problem+json"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
async def test_a_body_that_a_page_may_send_without_asking_is_refused(begin: Begin, content_type: str) -> None:
    async with operations_client(begin) as client:
        posts = [path for method, path in operations_routes(begin) if method == "POST"]
        headers = {"content-type": content_type}
        responses = [await client.post(path, content=DISCARD_ALL, headers=headers) for path in posts]
    assert {(r.status_code, r.json()["code"]) for r in responses} == {(415, "unsupported_media_type")}


async def test_a_web_page_can_discard_nothing(begin: Begin) -> None:
    ids = await record_dead_letters(begin, dead_letter())
    page = {"content-type": "text/plain", "origin": "https://evil.example", "host": "127.0.0.1:8082"}
    async with operations_client(begin) as client:
        del client.headers["authorization"]
        response = await client.post("/v1/discards", content=DISCARD_ALL, headers=page)
    assert response.status_code == 403
    async with begin() as work:
        parked = await work.list_dead_letters((DeadLetterState.PARKED,), DeadLetterFilter(), 2**62, 10)
    assert [summary.id for summary in parked] == ids


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8082", "127.0.0.1:8082", "[::1]:8082", "operations:8000"])
async def test_operations_is_reached_by_its_names_and_pages_of_its_own_origin(begin: Begin, host: str) -> None:
    async with operations_client(begin) as client:
        headers = {"host": host, "origin": f"http://{host}"}
        assert (await client.get("/v1/replays", headers=headers)).status_code == 200


async def test_operations_without_tokens_serves_nobody(begin: Begin) -> None:
    async with open_client(assemble_alone(SERVICE, begin)) as client:
        response = await client.get("/v1/replays", headers={"authorization": "Bearer "})
        health = await client.get("/livez")
    assert (response.status_code, health.status_code) == (401, 200)
    assert response.headers["www-authenticate"] == "Bearer"
    assert "PREBOOK_OPERATOR_TOKENS" in response.json()["detail"]


async def test_each_operator_has_a_token_and_a_further_host_is_a_setting(begin: Begin) -> None:
    settings = make_settings(
        operator_tokens=("ada=a-token-of-ada-0000", "grace=a-token-of-grace-0"),
        operator_hosts=frozenset({"ops.example"}),
    )
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    path = f"/v1/dead-letters/{dead_letter_id}/notes"
    async with open_client(assemble_alone(SERVICE, begin, settings=settings)) as client:
        for token in ("a-token-of-grace-0", "a-token-of-ada-0000"):
            headers = {"authorization": f"bearer {token}", "host": "ops.example"}
            response = await client.post(path, json={"text": "n"}, headers=headers)
    assert [note["operator"] for note in response.json()["notes"]] == ["grace", "ada"]


async def test_every_change_says_who_made_it(begin: Begin) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    path = f"/v1/dead-letters/{dead_letter_id}"
    only = {"selection": {"ids": [dead_letter_id]}}
    async with operations_client(begin) as client:
        await post(client, f"{path}/notes", {"text": "first"}, OPERATOR_HEADER, "mary")
        await post(client, f"{path}/versions", {"reason": "typo", "headers": {}}, OPERATOR_HEADER, "kate")
        await post(client, "/v1/discards", {**only, "reason": "old"}, OPERATOR_HEADER, "joan")
        discarded = (await client.get(path)).json()
        await post(client, "/v1/restores", only, OPERATOR_HEADER, "emmy")
        restored = (await client.get(path)).json()
        replay = await post(client, "/v1/replays", {**only, "force": True}, OPERATOR_HEADER, "lise")
        cancelled = (await client.delete(f"/v1/replays/{replay['id']}")).json()

    assert [note["operator"] for note in discarded["notes"]] == [f"{OPERATOR}/mary"]
    assert [version["operator"] for version in discarded["versions"]] == [f"{OPERATOR}/kate"]
    assert discarded["summary"]["operator"] == f"{OPERATOR}/joan"
    assert restored["summary"]["operator"] == f"{OPERATOR}/emmy"
    assert replay["operator"] == f"{OPERATOR}/lise"
    assert cancelled["reason"] == f"cancelled by {OPERATOR}"


async def post(client: httpx.AsyncClient, path: str, body: Any, header: str, value: str) -> Any:
    response = await client.post(path, json=body, headers={header: value})
    assert response.is_success, response.text
    return response.json()
