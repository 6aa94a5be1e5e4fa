"""Error responses are application/problem+json, whatever the error."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, Request, get, post
from litestar.params import FromPath, Parameter
from litestar.testing import TestClient

from prebook.http.problems import EXCEPTION_HANDLERS, FieldError, Problem, decode_problem
from prebook.messaging.errors import Unreachable
from prebook.patterns import trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    lat: float
    tags: list[int] = []


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    pickup: Inner


@get("/refuse")
async def refuse() -> None:
    raise Problem(503, "pricing_unavailable", "try later", headers={"retry-after": "3"})


@get("/fail")
async def fail() -> None:
    raise RuntimeError("password=canary")


UNAVAILABLE = {
    "slow": TimeoutError(),
    "refused_connection": ConnectionRefusedError(),
    "open": Unreachable("open", retry_after_s=2.5),
}


@get("/unavailable/{kind:str}")
async def unavailable(kind: FromPath[str]) -> None:
    raise UNAVAILABLE[kind]


@get("/typed")
async def typed(limit: Annotated[int, Parameter(ge=1, le=10)]) -> int:
    return limit


@post("/decoded")
async def decoded(request: Request[Any, Any, Any]) -> None:
    msgspec.json.decode(await request.body(), type=Outer)


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [refuse, fail, unavailable, typed, decoded],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=100,
        logging_config=None,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("call", "body", "status", "code"),
    [
        ("GET /refuse", b"", 503, "pricing_unavailable"),
        ("GET /fail", b"", 500, "internal_error"),
        ("GET /typed", b"", 400, "invalid_parameter"),
        ("GET /typed?limit=11", b"", 400, "invalid_parameter"),
        ("GET /typed?limit=many", b"", 400, "invalid_parameter"),
        ("GET /nowhere", b"", 404, "not_found"),
        ("PUT /typed", b"", 405, "method_not_allowed"),
        ("POST /decoded", b"{", 400, "malformed_json"),
        ("POST /decoded", b"[" * 90, 422, "invalid_body"),
        ("POST /decoded", b"{}", 422, "invalid_body"),
        ("POST /decoded", b" " * 101, 413, "request_entity_too_large"),
    ],
)
def test_an_error_has_its_status_media_type_and_code(
    client: TestClient[Litestar], call: str, body: bytes, status: int, code: str
) -> None:
    method, path = call.split()
    response = client.request(method, path, content=body, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert (problem["status"], problem["code"], problem["trace_id"]) == (status, code, TRACE)
    assert problem["type"] == f"urn:prebook:problem:{code}"
    assert problem["title"]
    assert problem["detail"]


def test_a_request_without_a_trace_starts_a_trace(client: TestClient[Litestar]) -> None:
    first, second = (client.get("/refuse").json()["trace_id"] for _ in range(2))

    assert len(first) == len(trace.trace_id(trace.new_traceparent())) == 32
    assert first != second


@pytest.mark.parametrize("second", [f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{'ab' * 16}-00f067aa0ba902b7-01"])
def test_a_repeated_traceparent_starts_a_trace(client: TestClient[Litestar], second: str) -> None:
    headers = [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"), ("traceparent", second)]
    started = client.get("/refuse", headers=headers).json()["trace_id"]

    assert started not in {TRACE, "ab" * 16, ""}


def test_the_response_has_the_headers_of_the_problem(client: TestClient[Litestar]) -> None:
    assert client.get("/refuse").headers["retry-after"] == "3"
    assert "GET" in client.put("/typed").headers["allow"]


@pytest.mark.parametrize(("kind", "retry_after"), [("slow", "1"), ("refused_connection", "1"), ("open", "3")])
def test_an_unavailable_dependency_is_a_503_with_retry_after(
    client: TestClient[Litestar], kind: str, retry_after: str
) -> None:
    response = client.get(f"/unavailable/{kind}")

    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == retry_after


def test_an_internal_error_reveals_no_details(client: TestClient[Litestar]) -> None:
    assert "canary" not in client.get("/fail").text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"pickup": {"lat": "north"}}', "/pickup/lat"),
        (b'{"pickup": {"lat": 1, "tags": [1, "x"]}}', "/pickup/tags/1"),
        (b'{"pickup": {"lat": 1, "lon": 2}}', "/pickup/lon"),
        (b'{"pickup": {}}', "/pickup/lat"),
        (b"{}", "/pickup"),
        (b"7", ""),
    ],
)
def test_an_invalid_body_names_the_field_by_a_json_pointer(body: bytes, pointer: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(body, type=Outer)

    (field_error,) = decode_problem(raised.value).errors
    assert field_error == FieldError(pointer=pointer, detail=field_error.detail)
