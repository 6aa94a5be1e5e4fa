"""Bytes that are no HTTP request, or an ambiguous one: a problem document, and the connection ends.

Source: RFC 9110 and RFC 9112.
"""

import asyncio
from collections import Counter
from typing import Any

import pytest
from litestar import Request, get, post
from litestar.params import JSONBody

from tests.http.raw_server import serve_raw

OK = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@post("/echo", status_code=200)
async def echo(data: JSONBody[dict[str, Any]]) -> dict[str, Any]:
    return data


@get("/headers")
async def headers(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {**request.headers, "path": request.url.path}


MALFORMED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01", (400, "malformed_request")),
    (b"GARBAGE\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez\r\n\r\n", (505, "unsupported_version")),
    (b"GET /livez HTTP/0.9\r\n\r\n", (505, "unsupported_version")),
    (b"GET /livez HTTP/1.2\r\nHost: a\r\n\r\n", (505, "unsupported_version")),
    (b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n", (505, "unsupported_version")),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505, "unsupported_version")),
    (b"GET /livez HTTQ/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"DESCRIBE /livez HTTP/1.1\r\nHost: a\r\n\r\n", (501, "unsupported_method")),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", (501, "unsupported_method")),
    (b"G\xc3\x84T /livez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET\t/livez\tHTTP/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET /liv ez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET /liv\x01ez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET /liv\xffez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET livez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_target")),
    (b"GET /livez#a HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_target")),
    (b"GET /livez%zz HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_target")),
    (b"GET /livez%00 HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_target")),
    (b"GET /livez?a=<> HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_target")),
    (b"GET ftp://a/livez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_target")),
    (b"GET http://u:p@a/livez HTTP/1.1\r\nHost: a\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\n\r\n", (400, "missing_host")),
    (b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\nHost: a:b\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\nHost: [::1\r\n\r\n", (400, "invalid_host")),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", (400, "invalid_host")),
    (b"GET http://a/livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400, "invalid_host")),
    (b"GET /no-such-path HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400, "invalid_host")),
    (POST + b"Expect: foo\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", (417, "expectation_failed")),
    (
        POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        (501, "unsupported_transfer_encoding"),
    ),
    (b"GET /livez HTTP/1.1\nHost: a\n\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost : a\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nX(: a\r\n\r\n", (400, "malformed_request")),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", (400, "malformed_request")),
    (POST + b"Content-Length: +2\r\n\r\n{}", (400, "malformed_request")),
    (POST + b"Content-Length: -2\r\n\r\n{}", (400, "malformed_request")),
    (POST + b"Content-Length: 2x\r\n\r\n{}", (400, "malformed_request")),
    (POST + b"Content-Length: \r\n\r\n{}", (400, "malformed_request")),
    (POST + b"Content-Length: 2, 2\r\n\r\n{}", (400, "malformed_request")),
    (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400, "malformed_request")),
    (POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}", (400, "malformed_request")),
    (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        (400, "malformed_request"),
    ),
    (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        (400, "malformed_request"),
    ),
    (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (501, "unsupported_transfer_encoding")),
    (POST + b"Transfer-Encoding: gzip\r\n\r\n{}", (501, "unsupported_transfer_encoding")),
    (
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        (400, "malformed_request"),
    ),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n2;a\n=b\r\n{}\r\n0\r\n\r\n", (400, "malformed_request")),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n", (400, "malformed_request")),
    (POST + b"Expect: tea\r\nContent-Length: 2\r\n\r\n{}", (417, "expectation_failed")),
]
SIZES = pytest.mark.parametrize("size", [1, 100_000], ids=["byte by byte", "at once"])


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@SIZES
async def test_a_malformed_request_gets_a_problem_document_and_the_connection_ends(size: int) -> None:
    async with serve_raw([echo]) as server:
        responses = await asyncio.gather(*(server.ask_until_closed(*cut(data, size)) for data, _ in MALFORMED))

    found = [
        (data, [(one.status, one.code, one.headers["connection"]) for one in all_of])
        for (data, _), all_of in zip(MALFORMED, responses, strict=True)
    ]
    assert found == [(data, [(*expected, "close")]) for data, expected in MALFORMED]
    assert server.refused == Counter(code for _, (_, code) in MALFORMED)


@pytest.mark.parametrize("method", ["FOO", "get", "M_x!"])
async def test_an_unknown_method_is_not_implemented(method: str) -> None:
    async with serve_raw() as server:
        (response,) = await server.ask_until_closed(f"{method} /livez HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    assert (response.status, response.code) == (501, "unsupported_method")
    assert f'"{method} is supported'.encode() in response.body


VALID = [
    (OK, 200),
    (b"\r\n\r\n" + OK, 200),
    (b"GET /livez HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", 200),
    (b"GET /livez HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200),
    (b"GET /livez HTTP/1.1\r\nhOST: under_score\r\n\r\n", 200),
    (b"GET /livez?q=%C3%A4&x=(a)/? HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n", 200),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200),
    (b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
    (b"PUT /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"GET /nowhere%ff HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    (POST + b"Content-Length: 2\r\n\r\n{}", 200),
    (POST + b"Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n", 200),
]


@SIZES
async def test_a_valid_request_is_served_however_it_is_cut(size: int) -> None:
    async with serve_raw([echo]) as server:
        responses = await asyncio.gather(*(server.ask(*cut(data, size)) for data, _ in VALID))

    assert [(data, one.status) for (data, _), (one,) in zip(VALID, responses, strict=True)] == VALID
    assert not server.refused


async def test_the_host_of_an_absolute_target_takes_the_place_of_the_header() -> None:
    async with serve_raw([headers]) as server:
        (response,) = await server.ask(b"GET http://b.example:81/headers HTTP/1.1\r\nHost: a\r\n\r\n")
        (root,) = await server.ask(b"GET http://b.example?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")

    assert b'"host":"b.example:81"' in response.body
    assert b'"path":"/headers"' in response.body
    assert root.status == 404


async def test_http_1_0_needs_no_host_and_ends_with_the_response() -> None:
    expecting = POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
    async with serve_raw([echo]) as server:
        (response,) = await server.ask_until_closed(b"GET /livez HTTP/1.0\r\n\r\n")
        (without_interim,) = await server.ask_until_closed(expecting)

    assert (response.status, response.headers["connection"]) == (200, "close")
    assert (without_interim.status, without_interim.body) == (200, b"{}")


async def test_expect_gets_100_continue_before_the_body_is_sent() -> None:
    async with serve_raw([echo]) as server, server.connect() as client:
        await client.send(POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        (interim,) = await client.receive()
        await client.send(b"{}")
        (final,) = await client.receive()

    assert (interim.status, final.status, final.body) == (100, 200, b"{}")


async def test_a_client_that_expects_100_continue_gets_an_error_instead_and_a_closed_connection() -> None:
    """The client may now leave out the body, so what follows on the connection could be body or request."""
    request = b"POST /livez HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n"
    async with serve_raw([echo]) as server:
        (response,) = await server.ask_until_closed(request + OK)

    assert (response.status, response.code) == (405, "method_not_allowed")


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_a_request_for_an_upgrade_keeps_its_body(upgrade: bytes) -> None:
    """The parser takes the body of such a request for the next request: a way to smuggle one past a proxy."""
    head = POST + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\nContent-Length: %d\r\n\r\n" % len(OK)
    async with serve_raw([echo]) as server, server.connect() as client:
        await client.send(head, OK)
        (response,) = await client.receive()
        await client.send(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}" + OK)
        next_responses = await client.receive(2)

    assert (response.status, response.code) == (400, "bad_request")
    assert [(one.status, one.body[:10]) for one in next_responses] == [(200, b"{}"), (200, b'{"status":')]


async def test_trailers_are_no_headers() -> None:
    chunked = b"GET /headers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Late: b\r\n\r\n"
    async with serve_raw([headers]) as server:
        (response,) = await server.ask(chunked)

    assert response.status == 200
    assert b"x-late" not in response.body
