"""Calls out to riders' own systems: signed, only to allowed hosts, only to addresses that are vetted when dialled.

Source: OWASP, "Server-Side Request Forgery Prevention"; Standard Webhooks for the signature.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from prebook.http.callback_targets import is_allowed_target
from prebook.http.client import TRANSPORT_ERRORS, create_http_client
from prebook.messaging.clock import unix_s
from prebook.messaging.errors import PermanentFailure, error_summary
from prebook.patterns.signature import sign

CALLBACK_TIMEOUT_S = 2.0
MIN_SUCCESS_STATUS, MAX_SUCCESS_STATUS, GONE_STATUS = 200, 299, 410


class ForbiddenTarget(PermanentFailure):
    """The target may not be called: its host is not allowed, or it resolves to an address that is not public."""

    cause = "forbidden_target"


class TargetGone(PermanentFailure):
    """The target says that it does not want to be called any more (410)."""

    cause = "target_gone"


class CallbackFailed(Exception):
    """The target did not take it this time. One rider's system being away is no outage of ours."""


class PublicAddressResolver(AbstractResolver):
    """Refuses a name when any of its addresses is not global, so that what is vetted is what is dialled."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        private = [entry["host"] for entry in found if not is_public_address(entry["host"])]
        if private:
            raise ForbiddenTarget(f"{host} resolves to an address that is not public")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def is_public_address(address: str) -> bool:
    """False for anything private, local, reserved, or wrapping such an address in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or _embedded_ipv4(ip)
        return is_public_address(str(inner)) if inner else ip.is_global and not ip.is_multicast
    return ip.is_global and not ip.is_multicast


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    wraps = ip in ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if wraps else None


class RiderCallbacks:
    """One signed POST at a time; whoever calls it repeats it until it succeeds."""

    def __init__(
        self, allowed_hosts: Collection[str], secrets: Sequence[str], *, clock: Callable[[], float] = unix_s
    ) -> None:
        self._allowed_hosts, self._secrets, self._clock = allowed_hosts, secrets, clock

    async def send(self, url: str, message_id: str, body: bytes) -> None:
        """Raises ForbiddenTarget and TargetGone (permanent), CallbackFailed (retry)."""
        if not is_allowed_target(url, self._allowed_hosts):
            raise ForbiddenTarget(f"callbacks may not go to {urlsplit(url).hostname}; see PREBOOK_RIDER_CALLBACK_HOSTS")
        headers = {"content-type": "application/json", **sign(self._secrets, message_id, int(self._clock()), body)}
        try:
            status = await self._post(url, headers, body)
        except (TimeoutError, *TRANSPORT_ERRORS) as error:
            raise CallbackFailed(error_summary(error)) from error
        if status == GONE_STATUS:
            raise TargetGone("the target is gone (410)")
        if not MIN_SUCCESS_STATUS <= status <= MAX_SUCCESS_STATUS:
            raise CallbackFailed(f"the target answered {status}")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """The status of the response, whose body is not read. Redirects are not followed, proxies are not used."""
        # Plain http is allowed only to hosts that are listed with it, which is how a demo names its own machine.
        resolver = PublicAddressResolver() if url.startswith("https://") else ThreadedResolver()
        async with (
            asyncio.timeout(CALLBACK_TIMEOUT_S),
            create_http_client(resolver=resolver) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            return response.status_code
