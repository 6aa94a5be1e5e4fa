"""Rules for the head of an HTTP/1.1 request that the parser does not check. Source: RFC 9110 and RFC 9112."""

import re
from collections.abc import Mapping

from prebook.http.problems import Problem
from prebook.http.refusals import invalid_host, unsupported_method, unsupported_version

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9\-._~!$&'()*+,;=%]{1,255})(:[0-9]{0,5})?")
_TARGET = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*(?:%(?!00)[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*)*")
"""Path and query (RFC 3986). PostgreSQL stores no text with the character that %00 stands for."""
_ABSOLUTE_TARGET = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_METHOD = re.compile(rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}) +[^ \r\n]")
VERSIONS = frozenset({"1.0", "1.1"})


def malformed_request(error: Exception, data: bytes, *, starts_request: bool) -> Problem:
    """Return the refusal of bytes that the parser does not accept.

    ``error`` is the parser's, ``data`` what it was given last; ``starts_request``: whether a request begins with it.
    """
    text = str(error)
    method = _METHOD.match(data) if starts_request and "method" in text else None
    if method or "method for HTTP" in text:
        return unsupported_method(method[1].decode() if method else "the method")
    if "HTTP version" in text or "PRI" in text:
        return unsupported_version()
    return Problem(400, "malformed_request", f"this is not an HTTP/1.1 request ({text}); see RFC 9112")


def check_fields(method: str, version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Check what decides how a request is read; names of headers are in lower case. Raises Problem."""
    if method == "CONNECT":
        raise unsupported_method(method)
    if version not in VERSIONS:
        raise unsupported_version()
    fields = dict(headers)
    if len(fields) < len(headers):
        fields = _combine_fields(headers)
    host = fields.get(b"host")
    if host is None:
        if version == "1.1":
            raise Problem(400, "missing_host", "a request of HTTP/1.1 has a Host header; send one")
    elif not _HOST.fullmatch(host):
        raise invalid_host()
    if b"transfer-encoding" in fields:
        _check_transfer_encoding(version, fields)
    if b"expect" in fields and version == "1.1" and fields[b"expect"].lower() != b"100-continue":
        raise Problem(417, "expectation_failed", "Expect: only 100-continue is supported")


def _combine_fields(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return one value for each name: several lines are one list (RFC 9110, 5.3), which no Host can be."""
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lines.setdefault(name, []).append(value)
    return {name: b", ".join(values) for name, values in lines.items()}


def _check_transfer_encoding(version: str, fields: Mapping[bytes, bytes]) -> None:
    if version == "1.0":
        raise Problem(400, "malformed_request", "HTTP/1.0 has no Transfer-Encoding; send Content-Length")
    if fields[b"transfer-encoding"].lower() != b"chunked":
        raise Problem(501, "unsupported_transfer_encoding", "Transfer-Encoding: only chunked is supported")


def normalise_target(target: bytes, method: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the target as path and query, or ``*`` of OPTIONS.

    The host of an absolute target takes the place of the Host headers. Raises Problem.
    """
    if _TARGET.fullmatch(target) or (target == b"*" and method == "OPTIONS"):
        return target
    absolute = _ABSOLUTE_TARGET.fullmatch(target)
    path = absolute[2] if absolute else b""
    if method == "OPTIONS" and absolute and not path:
        path = b"*"  # RFC 9112, 3.2.4
    elif not path.startswith(b"/"):
        path = b"/" + path
    if absolute is None or not (path == b"*" or _TARGET.fullmatch(path)):
        raise Problem(
            400, "invalid_target", "the request target is no path and query as in RFC 3986; percent-encode the others"
        )
    if not _HOST.fullmatch(absolute[1]):
        raise invalid_host()
    headers[:] = [(b"host", absolute[1]), *(field for field in headers if field[0] != b"host")]
    return path
