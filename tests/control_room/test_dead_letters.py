"""Dead letters on the page: operations decides, and its response is passed on."""

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from prebook.control_room.dead_letters import DeadLettersSource, OperatorAccess, dead_letter_routes
from prebook.http.problems import EXCEPTION_HANDLERS
from prebook.messaging.errors import Unreachable

URL = "http://operations.test"
GROUP = {
    "failure_group": "b3",
    "cause": "handler_failed",
    "error_type": "ValueError",
    "error": "bad",
    "type": "quote_fare.v1",
    "queue": "pricing.requests.quote_fare",
    "messages": 2,
    "oldest": "2026-11-30T10:00:00Z",
    "newest": "2026-11-30T11:00:00Z",
}


class OperationsStub:
    """Operations as an HTTP transport: keeps requests, and gives the response that it is told to give."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.tokens = iter(("first", "second"))
        self.response = httpx.Response(200, json={})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path.endswith("/groups"):
            return httpx.Response(self.response.status_code, json={"groups": [GROUP], "messages": 2})
        if request.method == "GET" and request.url.path == "/v1/replays":
            return httpx.Response(200, json={"replays": []})
        return self.response

    def access(self) -> OperatorAccess:
        return OperatorAccess(URL, lambda: next(self.tokens))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def page_of(operations: OperationsStub) -> AsyncTestClient[Litestar]:
    routes = dead_letter_routes(operations.client(), operations.access())
    return AsyncTestClient(Litestar(routes, exception_handlers=EXCEPTION_HANDLERS, openapi_config=None))


async def test_a_replay_is_asked_of_operations_in_the_name_of_the_page_with_the_present_token() -> None:
    operations = OperationsStub()
    operations.response = httpx.Response(200, json={"messages": 2})
    body = {"selection": {"ids": [1, 2]}, "dry_run": True}
    async with page_of(operations) as page:
        for _ in range(2):
            assert (await page.post("/v1/replays", json=body)).json() == {"messages": 2}
    sent = operations.requests[0]
    assert (str(sent.url), sent.headers["prebook-operator"]) == (f"{URL}/v1/replays", "control-room")
    decoded = msgspec.json.decode(sent.content)
    assert (decoded["selection"]["ids"], decoded["dry_run"]) == ([1, 2], True)
    assert [each.headers["authorization"] for each in operations.requests] == ["Bearer first", "Bearer second"]


async def test_a_list_has_the_filters_of_the_page_and_a_refusal_is_passed_on() -> None:
    operations = OperationsStub()
    operations.response = httpx.Response(400, json={"detail": "no such state"})
    async with page_of(operations) as page:
        refused = await page.get("/v1/dead-letters?failure_group=b3&limit=10")
    assert (refused.status_code, refused.json()) == (400, {"detail": "no such state"})
    assert str(operations.requests[0].url) == f"{URL}/v1/dead-letters?failure_group=b3&limit=10"


@pytest.mark.parametrize("body", [{"selection": {"ids": []}}, {"selection": {}, "rate_per_s": 0}, {}])
async def test_a_malformed_replay_never_reaches_operations(body: dict[str, object]) -> None:
    operations = OperationsStub()
    async with page_of(operations) as page:
        assert (await page.post("/v1/replays", json=body)).status_code == 422
    assert operations.requests == []


async def test_groups_are_figures_by_their_id_and_an_error_is_a_failure_of_the_source() -> None:
    operations = OperationsStub()
    source = DeadLettersSource(operations.client(), operations.access())
    assert await source.read() == {"failure_groups": {"b3": GROUP}, "replays": {}}
    operations.tokens = iter(("third",))
    operations.response = httpx.Response(503)
    with pytest.raises(Unreachable, match="operations answered 503"):
        await source.read()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/dead-letters/7/notes", {"text": "the fleet is away"}),
        ("POST", "/v1/dead-letters/7/versions", {"reason": "complete it", "headers": {"x-old": None}, "payload": None}),
        ("POST", "/v1/discards", {"selection": {"ids": [1]}, "reason": "old"}),
        ("POST", "/v1/restores", {"selection": {"ids": [1]}}),
        ("DELETE", "/v1/replays/9b2f00c1d3e4", None),
        ("GET", "/v1/dead-letters/7", None),
    ],
)
async def test_each_action_is_that_of_operations(method: str, path: str, body: dict[str, object] | None) -> None:
    operations = OperationsStub()
    operations.response = httpx.Response(200, json={"summary": {"id": 7}})
    async with page_of(operations) as page:
        response = await page.request(method, path, json=body)
    assert (response.status_code, response.json()) == (200, {"summary": {"id": 7}})
    (sent,) = operations.requests
    assert (sent.method, sent.url.path, sent.headers["prebook-operator"]) == (method, path, "control-room")
    assert (msgspec.json.decode(sent.content) if sent.content else None) == body


async def test_the_groups_of_another_state_are_asked_of_operations() -> None:
    operations = OperationsStub()
    async with page_of(operations) as page:
        assert (await page.get("/v1/dead-letters/groups?in_state=discarded")).json()["messages"] == 2
    assert operations.requests[0].url.query == b"in_state=discarded"


async def test_the_export_is_passed_on_as_it_comes() -> None:
    operations = OperationsStub()
    operations.response = httpx.Response(200, content=b'{"id":1}\n{"id":2}\n')
    async with page_of(operations) as page:
        export = await page.get("/v1/dead-letters/export")
    assert (export.content, export.headers["content-type"]) == (b'{"id":1}\n{"id":2}\n', "application/x-ndjson")
