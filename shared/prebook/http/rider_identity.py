"""The rider who sends a request, as a proxy in front of the service has authenticated them."""

from collections.abc import Collection
from typing import Any

import msgspec
from litestar import Request

from prebook.contracts.booking import RiderId
from prebook.http.peers import network_check
from prebook.http.problems import FieldError, Problem, repeated_header


class RiderIdentity:
    """Reads the rider from a header of a trusted proxy. Without a header, nobody is authenticated."""

    def __init__(self, header: str, trusted_proxies: Collection[str]) -> None:
        """``trusted_proxies``: networks whose peers are believed. Raises ValueError for anything but a network."""
        self._header = header.lower()
        self._is_trusted = network_check(trusted_proxies)

    def rider_of(self, request: Request[Any, Any, Any]) -> str | None:
        """Return the rider who sends a request, or None if riders are not authenticated.

        Raises Problem: 401 if the peer is no trusted proxy or names no rider, 400 if it names several or a wrong one.
        """
        if not self._header:
            return None
        client = request.client
        if client is None or not self._is_trusted(client.host):
            raise _unauthenticated("requests of riders come through a trusted proxy; send it there")
        riders = request.headers.getall(self._header, [])
        if not riders:
            raise _unauthenticated(f"the proxy has named no rider in {self._header}; sign in")
        if len(riders) > 1:
            raise repeated_header(self._header, len(riders))
        try:
            return msgspec.convert(riders[0], RiderId)
        except msgspec.ValidationError as error:
            fault = FieldError(pointer=self._header, detail=str(error))
            raise Problem(400, "invalid_rider", f"{self._header}: {error}", errors=[fault]) from None


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "rider_unauthenticated", detail, headers={"www-authenticate": "Proxy"})
