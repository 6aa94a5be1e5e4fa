"""Calls of the partner fleets: within the process, or over HTTP to their own listeners (decision 0024)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from prebook.fleets.partners.listeners import PATH, PartnerListeners
from prebook.fleets.partners.registry import partners
from prebook.fleets.partners.simulation import PartnerCall
from prebook.http.client import ServiceClient
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.patterns.normalizer import ForeignMessage
from prebook.runtime.settings import ServiceSettings

HEADERS = {"content-type": "application/octet-stream"}
OK = 200


@dataclass(frozen=True)
class PartnerWire:
    """Calls of the partners by name. A call without a reply raises TimeoutError."""

    calls: Mapping[str, PartnerCall]


@dataclass(frozen=True)
class HttpPartnerWire(PartnerWire):
    """Calls over HTTP, while ``run`` serves the partners' listeners."""

    listeners: PartnerListeners
    client: ServiceClient

    async def run(self) -> None:
        """Serve the listeners until cancelled."""
        try:
            await self.listeners.run()
        finally:
            await self.client.close()


def partner_wire(settings: ServiceSettings) -> PartnerWire:
    """Return the calls of the partners that the settings choose; all callers in a process share them."""
    return _open(settings.seed, settings.partner_wire == "http", settings.partner_timeout_s)


@cache
def _open(seed: int, is_http: bool, timeout_s: float) -> PartnerWire:
    simulated = partners(seed)
    if not is_http:
        return PartnerWire(simulated)
    listeners = PartnerListeners(simulated)
    client = ServiceClient(listeners.urls)
    calls = {name: http_call(client, listeners, name, timeout_s) for name in simulated}
    return HttpPartnerWire(calls, listeners, client)


def http_call(client: ServiceClient, listeners: PartnerListeners, partner: str, timeout_s: float) -> PartnerCall:
    """Return the call of a partner over HTTP. An error response is a reply in an unknown format, with its bytes."""

    async def call(request: bytes) -> ForeignMessage:
        await listeners.up.wait()
        try:
            response = await client.request("POST", partner, PATH, headers=HEADERS, body=request, timeout_s=timeout_s)
        except (Unreachable, Undeliverable) as error:
            raise TimeoutError(f"{partner} did not reply") from error
        is_success = response.status == OK
        return ForeignMessage(
            response.headers.get("content-type", "") if is_success else f"status {response.status}", response.body
        )

    return call
