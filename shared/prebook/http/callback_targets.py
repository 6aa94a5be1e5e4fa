"""Allowed targets of riders' callbacks, as far as the URL alone decides it.

The address that the host resolves to is checked when the callback is sent (``rider_callbacks``).

Source: OWASP, "Server-Side Request Forgery Prevention".
"""

import re
from collections.abc import Collection

MAX_URL_LENGTH = 512
_HOST = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*|\[[0-9a-f:.]{2,45}\]"
_PORT = r"[1-9][0-9]{0,4}"
# A strict grammar instead of a lenient parser: a URL that two parsers could read differently is refused. No userinfo,
# no fragment, no backslash, no percent sign or non-ASCII letter in the host.
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>{_PORT}))?"
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?\Z"
)
_DEFAULT_PORT = {"https": "443", "http": "80"}


def is_allowed_target(url: str, allowed_hosts: Collection[str]) -> bool:
    """Return whether ``url`` has one of the allowed origins.

    ``allowed_hosts`` are ``host`` or ``host:port`` for https, and ``http://host[:port]`` for plain http.
    """
    if len(url) > MAX_URL_LENGTH:
        return False
    parts = _URL.match(url)
    return parts is not None and _origin(parts) in {_allowed_origin(host) for host in allowed_hosts}


def _origin(parts: re.Match[str]) -> tuple[str, str, str]:
    return parts["scheme"], parts["host"], parts["port"] or _DEFAULT_PORT[parts["scheme"]]


def _allowed_origin(host: str) -> tuple[str, str, str] | None:
    url = host.lower() if "://" in host else f"https://{host.lower()}"
    parts = _URL.match(url)
    return _origin(parts) if parts else None
