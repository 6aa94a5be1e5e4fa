"""Seeded generator of requests that break the rules of HTTP in every way: valid ones, cut, spliced and mutated."""

import random
from dataclasses import dataclass

import msgspec

from tests.booking.booking_suite import body

KEYS = 16
"""Idempotency-Keys in use: few, so that the bookings of a run take little memory."""
JSON_BODY = msgspec.json.encode(body())
TARGETS = (
    *(b"/v1/bookings", b"/v1/bookings/bk_1", b"/livez", b"/readyz", b"/schema/openapi.json", b"/nowhere", b"*"),
    *(
        b"/v1/ledger",
        b"/flows/quote_fare",
        b"/callbacks/quote_fare",
        b"/inbox/m1",
        b"/v1/dead-letters",
        b"/v1/discards",
    ),
)
METHODS = (b"GET", b"POST", b"DELETE", b"OPTIONS", b"PUT", b"PATCH", b"TRACE", b"CONNECT", b"PRI", b"FOO", b"get", b"")
VERSIONS = (b"HTTP/1.1",) * 8 + (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11", b"http/1.1", b"")
HEADERS = (
    b"Host: booking",
    b"Host: a b",
    b"Content-Length: %d" % len(JSON_BODY),
    b"Content-Length: 0",
    b"Content-Length: 70000",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: -1",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Expect: tea",
    b"Content-Type: application/json",
    b"Content-Type: text/plain; charset=nonsense",
    b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Encoding: gzip",
    b"Cookie: a=b; \xff",
    b"traceparent: 00-00000000000000000000000000000000-0000000000000000-00",
    b"Accept: */*;q=x",
    b"Range: bytes=0-1",
    b"X: " + b"a" * 9000,
    b" folded",
    b"no colon",
    b": no name",
)
BODIES = (
    JSON_BODY,
    b"",
    b"{",
    b"null",
    b"\xff\xfe",
    b"[" * 2000,
    b"1\r\na\r\n0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"zz\r\n",
)
BITS = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\xff",
    b"%",
    b"%00",
    b"%ff",
    b"?",
    b"#",
    b"a" * 5000,
)


@dataclass(frozen=True)
class FuzzCase:
    """Segments that a client sends, and how it ends the connection."""

    segments: tuple[bytes, ...]
    ending: str
    """``wait`` until the server closes, ``half_close`` and then wait, or ``reset`` at once."""


class RequestFuzzer:
    """Generator of cases; equal seeds give equal cases.

    ``json_body``: body of a valid booking, as long as JSON_BODY.
    """

    def __init__(self, seed: int, json_body: bytes = JSON_BODY) -> None:
        if len(json_body) != len(JSON_BODY):
            raise ValueError(f"the body must have {len(JSON_BODY)} bytes, as the headers say")
        self._random = random.Random(seed)
        self._json_body = json_body

    def next_case(self) -> FuzzCase:
        """Return the next case."""
        data = b"".join(self._request() for _ in range(self._random.choice((1, 1, 1, 2, 5))))
        for _ in range(self._random.choice((0, 0, 1, 1, 3))):
            data = self._mutated(data)
        cuts = sorted(self._random.randrange(len(data) + 1) for _ in range(self._random.choice((0, 0, 1, 3))))
        segments = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        ending = self._random.choices(("wait", "half_close", "reset"), (8, 1, 1))[0]
        return FuzzCase(tuple(segments), ending)

    def _request(self) -> bytes:
        choose = self._random.choice
        if self._random.random() < 0.4:
            head = [b"POST /v1/bookings HTTP/1.1", b"Host: booking", b"Content-Type: application/json"]
            head += [b"Idempotency-Key: k%d" % self._random.randrange(KEYS), b"Content-Length: %d" % len(JSON_BODY)]
            if self._random.random() < 0.1:
                head[-1] = b"Content-Length: 70000"
            if self._random.random() < 0.5:
                head.insert(self._random.randrange(1, len(head) + 1), choose(HEADERS))
            return b"\r\n".join([*head, b"", self._json_body])
        line = b" ".join([choose(METHODS), choose(TARGETS), choose(VERSIONS)])
        headers = [b"Host: booking", *(choose(HEADERS) for _ in range(self._random.randrange(5)))]
        return b"\r\n".join([line, *headers, b"", choose(BODIES)])

    def _mutated(self, data: bytes) -> bytes:
        if not data:
            return data
        start = self._random.randrange(len(data))
        end = min(len(data), start + self._random.choice((1, 1, 2, 20, 200)))
        kind = self._random.randrange(5)
        if kind == 0:
            return data[:start] + data[end:]
        if kind == 1:
            return data[:end] + data[start:]
        if kind == 2:
            return data[:start] + self._random.choice(BITS) + data[start:]
        if kind == 3:
            return data[:start] + bytes([self._random.randrange(256)]) + data[start + 1 :]
        return data[:start]
