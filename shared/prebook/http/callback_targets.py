"""Allowed targets of riders' callbacks, as far as the URL alone decides it.

The address that the host resolves to is checked when the callback is sent (``rider_callbacks``).

Source: OWASP, "Server-Side Request Forgery Prevention".
"""

import re
from collections.abc import Collection

from prebook.http.public_addresses import is_address, is_public_address

MAX_URL_LENGTH = 512
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}\]"
_PORT = r"[1-9][0-9]{0,4}"
# A strict grammar instead of a lenient parser: a URL that two parsers could read differently is refused. No userinfo,
# no fragment, no backslash, no percent sign or non-ASCII letter in the host.
_ORIGIN = rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>{_PORT}))?"
_URL = re.compile(
    rf"{_ORIGIN}"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?\Z"
)
_ENTRY = re.compile(rf"{_ORIGIN}\Z")
_MAX_PORT = 65_535
_DEFAULT_PORT = {"https": "443", "http": "80"}


def is_allowed_target(url: str, allowed_hosts: Collection[str]) -> bool:
    """Return whether ``url`` has one of the allowed origins.

    ``allowed_hosts`` are ``host`` or ``host:port`` for https, and ``http://host[:port]`` for plain http. The case of a
    host does not matter, nor does a dot at its end.
    """
    if len(url) > MAX_URL_LENGTH:
        return False
    parts = _URL.match(url)
    return parts is not None and _origin(parts) in {_allowed_origin(host) for host in allowed_hosts}


def origin_of(url: str) -> tuple[str, str, str]:
    """Return scheme, host and port of an allowed target: equal for all spellings of one receiver."""
    parts = _URL.match(url)
    if parts is None:
        raise ValueError("the URL is no target of a callback")
    return _origin(parts)


def unusable_hosts(allowed_hosts: Collection[str]) -> list[str]:
    """Return the entries of ``allowed_hosts`` that allow nothing, such as one with a path or a wildcard."""
    return sorted(host for host in allowed_hosts if _allowed_origin(host) is None)


def _origin(parts: re.Match[str]) -> tuple[str, str, str]:
    host = parts["host"].lower().removesuffix(".")
    return parts["scheme"], host, parts["port"] or _DEFAULT_PORT[parts["scheme"]]


def _allowed_origin(entry: str) -> tuple[str, str, str] | None:
    parts = _ENTRY.match(entry if "://" in entry else f"https://{entry}")
    if parts is None:
        return None
    scheme, host, port = _origin(parts)
    # An address in a URL is not resolved, and so is checked here; plain http may go to private ones.
    is_private = scheme == "https" and is_address(host) and not is_public_address(host.strip("[]"))
    return None if is_private or int(port) > _MAX_PORT else (scheme, host, port)
