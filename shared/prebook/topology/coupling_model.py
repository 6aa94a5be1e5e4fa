"""Flows, events, lookups and external edges under one plan: what scorecard and check of the coupling read. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from prebook.contracts.message import Message
from prebook.contracts.plan import Plan
from prebook.coupling.channels import COUPLING_TRAITS
from prebook.flows import ALL_FLOWS, EVENT_TYPES, LOOKUPS, EventType, Flow, Lookup
from prebook.topology.external_edges import PARTIES, Contact, ExternalEdge, Party
from prebook.topology.type_references import first_parameter_hint, referenced_types, result_hint
from prebook.topology.values import ReadGrant


@dataclass(frozen=True, kw_only=True)
class CouplingModel:
    """Everything that couples the suite's parts to each other and to parties outside, under one plan."""

    plan: Plan
    external_edges: tuple[ExternalEdge, ...]
    read_grants: frozenset[ReadGrant] = frozenset()
    flows: tuple[Flow[Any, Any], ...] = tuple(ALL_FLOWS)
    event_types: tuple[EventType[Any], ...] = tuple(EVENT_TYPES)
    lookups: tuple[Lookup, ...] = LOOKUPS
    parties: Mapping[str, Party] = field(default_factory=lambda: PARTIES)

    def party(self, name: str) -> Party | None:
        """Return the party that flows, events, lookups and accounts call ``name``; None if it is declared nowhere."""
        own = (edge.party for edge in self.external_edges if edge.contact is Contact.PULLS and edge.near == name)
        return self.parties.get(name) or next(own, None)

    def waits(self, flow: Flow[Any, Any]) -> bool:
        """Return whether the flow's caller waits for the reply and makes no progress without it."""
        return COUPLING_TRAITS[self.plan[flow.name]].replies_inline

    def waiting_flows(self, trigger: Flow[Any, Any] | EventType[Any] | None) -> tuple[Flow[Any, Any], ...]:
        """Return the flows whose callers wait while ``trigger`` is handled: it, and those that lead to it.

        A flow leads to another if its provider calls the other one. Nobody waits for the handling of an event.
        """
        if not isinstance(trigger, Flow):
            return ()
        return tuple(flow for flow in self._flows_leading_to(trigger) if self.waits(flow))

    def _flows_leading_to(self, last: Flow[Any, Any]) -> Iterable[Flow[Any, Any]]:
        """Yield ``last`` and the flows before it, each once."""
        found = [last]
        for flow in found:
            found += [each for each in self.flows if each.provider == flow.caller and each not in found]
        return found

    @cached_property
    def message_bodies(self) -> frozenset[type]:
        """Bodies of the suite's requests, replies and events."""
        flows = (body for flow in self.flows for body in (flow.request_type, *flow.reply_types))
        return frozenset({*flows, *(event.body_type for event in self.event_types)})

    @cached_property
    def vocabulary(self) -> frozenset[type]:
        """Types of the contracts that messages are made of, such as amounts of money."""
        parts = referenced_types(self.message_bodies)
        return frozenset(t for t in parts if t.__module__.startswith("prebook.contracts.") and not is_message(t))


def wire_hints(edge: ExternalEdge) -> Mapping[str, Any]:
    """Return the hint of what the party gets or sends, by the translator that makes or reads it.

    A party that pulls without a translator gets the event as it is.
    """
    hints = {translator_name(each): result_hint(each) for each in edge.sends}
    hints |= {translator_name(each): first_parameter_hint(each) for each in edge.receives}
    if edge.contact is Contact.PULLS and not edge.sends and isinstance(edge.trigger, EventType):
        return hints | {"": edge.trigger.body_type}
    return hints


def translator_name(translator: Any) -> str:
    """Return module and name of a translator, for people."""
    name = getattr(translator, "__qualname__", type(translator).__qualname__)
    return f"{getattr(translator, '__module__', '').removeprefix('prebook.')}:{name}"


def wire_types(edge: ExternalEdge) -> frozenset[type]:
    """Return the types that the party sees, at any depth."""
    return referenced_types(wire_hints(edge).values())


def is_message(found: type) -> bool:
    """Return whether a type is a body of messages between services."""
    return issubclass(found, Message)


def is_structure(found: type) -> bool:
    """Return whether a type has fields, so that a party sees it change."""
    return issubclass(found, msgspec.Struct)
