"""Faults of one partner fleet: slow, dead or garbled. Fleets simulates it; probes of all partners prove the effect."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import msgspec

from prebook.contracts.partners import ConditionRequest, PartnerCondition, PartnerProbe
from prebook.devstack.console_calls import ConsoleSigner
from prebook.lab.faults.catalogue import PARTNERS
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import Fault, NoEffect
from prebook.lab.polling import poll_until

SERVICE = "fleets"
TIMEOUT = aiohttp.ClientTimeout(total=10.0)
POLL_INTERVAL_S = 0.3
HEAL_TIMEOUT_S = 20.0
MIN_SLOW_S = 0.9
"""Seconds from which a reply proves that the partner is slow; a healthy one takes less than a tenth of a second."""
NO_REPLY = "no_reply"
READABLE = frozenset({"accepted", "declined"})
SHOWS: Mapping[PartnerCondition, Callable[[PartnerProbe], bool]] = {
    PartnerCondition.SLOW: lambda probe: probe.seconds >= MIN_SLOW_S and probe.outcome != NO_REPLY,
    PartnerCondition.DEAD: lambda probe: probe.outcome == NO_REPLY,
    PartnerCondition.GARBLED: lambda probe: probe.outcome == "garbled",
    PartnerCondition.UPGRADED: lambda probe: probe.outcome == "unknown_version",
    PartnerCondition.HEALTHY: lambda probe: probe.outcome in READABLE and probe.seconds < MIN_SLOW_S,
}
"""Condition -> whether a probe shows it."""


def partner_injection(condition: PartnerCondition) -> Callable[[Fault, float, FaultAccess], Awaitable[str]]:
    """Return an injection that puts one partner into ``condition``; fleets heals it after the duration."""

    async def inject_condition(fault: Fault, duration_s: float, fault_access: FaultAccess) -> str:
        """Return the evidence: probes of the partner and of another one. Raises NoEffect."""
        await impose(fault_access, fault.target, condition, duration_s)
        shown, others, _slept = await asyncio.gather(
            probe(fault_access, fault.target),
            asyncio.gather(*(probe(fault_access, each) for each in PARTNERS if each != fault.target)),
            asyncio.sleep(duration_s),
        )
        if not SHOWS[condition](shown):
            raise NoEffect(f"{_text(shown)}, which does not show that it is {condition}")
        if not any(SHOWS[PartnerCondition.HEALTHY](each) for each in others):
            raise NoEffect(f"the other partners are not healthy: {'; '.join(map(_text, others))}")
        await _wait_until_healthy(fault_access, fault.target)
        return f"{condition}: {_text(shown)}; {'; '.join(map(_text, others))}; healthy again"

    return inject_condition


async def impose(fault_access: FaultAccess, partner: str, condition: PartnerCondition, duration_s: float) -> None:
    """Put a partner into a condition for ``duration_s`` seconds. Raises aiohttp.ClientError."""
    body = msgspec.json.encode(ConditionRequest(condition=condition, duration_s=duration_s))
    await _post(fault_access, f"/v1/partners/{partner}/condition", body)


async def probe(fault_access: FaultAccess, partner: str) -> PartnerProbe:
    """Call a partner once. Raises aiohttp.ClientError."""
    return msgspec.json.decode(await _post(fault_access, f"/v1/partners/{partner}/probe", b"{}"), type=PartnerProbe)


async def _wait_until_healthy(fault_access: FaultAccess, partner: str) -> None:
    async def is_healthy() -> bool | None:
        return SHOWS[PartnerCondition.HEALTHY](await probe(fault_access, partner)) or None

    try:
        await poll_until(is_healthy, interval_s=POLL_INTERVAL_S, timeout_s=HEAL_TIMEOUT_S)
    except TimeoutError:
        raise NoEffect(f"{partner} is not healthy {HEAL_TIMEOUT_S:g} s after the fault should have ended") from None


async def _post(fault_access: FaultAccess, target: str, body: bytes) -> bytes:
    addresses = fault_access.addresses
    headers = {"content-type": "application/json"}
    signed = ConsoleSigner(addresses.console_secrets).sign(SERVICE, target, "POST", headers, body)
    async with fault_access.session.post(
        addresses.internal[SERVICE] + target, data=body, headers={**headers, **signed}, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()
        return await response.read()


def _text(shown: PartnerProbe) -> str:
    return f"{shown.fleet} {shown.outcome.replace('_', ' ')} after {shown.seconds:.2f} s"
