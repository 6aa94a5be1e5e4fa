"""Refusals of requests and connections at the socket, before an application sees them."""

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from prebook.http.problems import MEDIA_TYPE, Problem, encode_problem
from prebook.patterns.trace import NO_TRACE

REQUEST_TIMEOUT = Problem(
    408, "request_timeout", "the request did not arrive in time; send it again, on a new connection"
)
TOO_MANY_CONNECTIONS = Problem(
    503,
    "too_many_connections",
    "the service has no connection left; try again after Retry-After",
    headers={"retry-after": "1"},
)
TOO_MANY_PEER_CONNECTIONS = Problem(
    429,
    "too_many_connections_of_peer",
    "this client has too many connections open; use fewer, or close some and try again after Retry-After",
    headers={"retry-after": "1"},
)


def head_too_large(max_bytes: int) -> Problem:
    """Return the refusal of a head of more than ``max_bytes`` bytes."""
    detail = f"request line and headers have more than {max_bytes} bytes; send fewer or shorter headers"
    return Problem(431, "head_too_large", detail)


def target_too_long(max_bytes: int) -> Problem:
    """Return the refusal of a request target of more than ``max_bytes`` bytes."""
    return Problem(414, "target_too_long", f"path and query have more than {max_bytes} bytes; send less")


def request_too_large(max_bytes: int) -> Problem:
    """Return the refusal of a request of more than ``max_bytes`` bytes."""
    return Problem(413, "request_too_large", f"the request has more than {max_bytes} bytes")


def unsupported_method(method: str) -> Problem:
    """Return the refusal of a method that no resource has."""
    return Problem(501, "unsupported_method", f"{method} is supported by no resource; see /schema/openapi.json")


def unsupported_version() -> Problem:
    """Return the refusal of a version other than 1.0 and 1.1."""
    return Problem(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are supported")


def invalid_host() -> Problem:
    """Return the refusal of a Host header or of the host in a target."""
    return Problem(400, "invalid_host", "Host: not a host and an optional port; send one as in RFC 3986")


def encode_refusal(problem: Problem, default_headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a refusal as a response of HTTP/1.1 that ends its connection."""
    body = encode_problem(problem, NO_TRACE.child())
    headers = [
        *default_headers,
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *((name.encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    return STATUS_LINE[problem.status] + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body
