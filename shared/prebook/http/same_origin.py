"""Checks that keep web pages of other origins away from an API on the operator's machine.

A web page that an operator visits can send requests to any address that the operator's machine reaches, and with DNS
rebinding it can read the responses. It can choose neither the ``Host`` nor the ``Origin`` that the browser sends.

Source: OWASP, "Cross-Site Request Forgery Prevention"; RFC 9110, 15.5.20.
"""

from collections.abc import Collection

from prebook.http.problems import Problem


def check_host(host: str, names: Collection[str], remedy: str) -> None:
    """Raise Problem (421) unless the ``Host`` header names this service.

    ``names``: in lower case, without ports. ``remedy`` ends the text for the caller.
    """
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    if name.lower() not in names:
        raise Problem(421, "unknown_host", f"this service is not {name!r}; {remedy}")


def check_origin(origin: str | None, host: str) -> None:
    """Raise Problem (403) if a browser states the origin of another page; None: the client states none."""
    own_origins = (f"http://{host}".lower(), f"https://{host}".lower())
    if origin is not None and origin.lower() not in own_origins:
        raise Problem(403, "foreign_origin", "web pages of other origins may not use this API")
