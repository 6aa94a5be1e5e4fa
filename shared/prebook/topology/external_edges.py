"""Parties on the far side of an edge, the level of control over each, and the edges that leave the suite.

Each level is declared here, once. A service, tool or table of the configuration declares its own edges next to the code
that uses them. Source: the talk "Advanced integration patterns & trade-offs for loosely coupled systems" (API309),
"level of control".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prebook.flows import CONSOLE, PROCESSES, EventType, Flow
from prebook.messaging.addresses import ARCHIVE_READER, OBSERVER


class Control(StrEnum):
    """Level of control over a party: whose decision its changes and its uptime are."""

    HIGH = "high"
    """The suite's own team changes, deploys and restarts it."""
    MEDIUM = "medium"
    """Another team of the same company: changes are agreed on beforehand."""
    LOW = "low"
    """It changes, slows down and goes away without asking."""


@dataclass(frozen=True)
class Party:
    """Owner of a system on the far side of an edge. ``reason``: why the level of control is not another one."""

    name: str
    control: Control
    reason: str


OWN_SERVICE = Party("own service", Control.HIGH, "one team owns all services and deploys them together")
DISPATCH = Party("dispatch", Control.MEDIUM, "desks of the same company, which read a published event")
PARTNER_FLEETS = Party("partner fleets", Control.LOW, "other companies, with formats and versions of their own")
RIDERS = Party("riders", Control.LOW, "anybody's apps and systems")
CITY_AUTHORITY = Party("city authority", Control.LOW, "a public body, with a rate and maintenance of its own")
PARTIES: Mapping[str, Party] = dict.fromkeys((*PROCESSES, CONSOLE, ARCHIVE_READER, OBSERVER), OWN_SERVICE)
"""Party by the name that flows, events, lookups and broker accounts use."""


class Contact(StrEnum):
    """Way in which the suite and a party meet: who opens the exchange."""

    CALLED = "is called"
    """The suite calls the party and waits for its response."""
    PULLS = "pulls"
    """The party takes messages from a queue, at its own pace."""
    CALLS = "calls"
    """The party calls the suite."""


@dataclass(frozen=True, kw_only=True)
class ExternalEdge:
    """Edge between the suite and a party outside it."""

    name: str
    near: str
    """Service, or account of a tool, on the suite's side."""
    party: Party
    contact: Contact
    trigger: Flow[Any, Any] | EventType[Any] | None = None
    """Request or event whose handling contacts the party; None if the party opens the exchange, or if nothing keeps the
    contact until the party is back."""
    sends: tuple[Callable[..., Any], ...] = ()
    """Message translators of what the party gets. Their results are its types. Source: EIP, Message Translator."""
    receives: tuple[Callable[..., Any], ...] = ()
    """Message translators of what the party sends. Their first parameters are its types."""
    max_wait_s: float | None = None
    """Seconds after which a call of the party is given up; None for a call without a limit, or if it is not called."""
