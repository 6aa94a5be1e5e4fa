"""Scorecard of the coupling, derived from the model: per flow and coupling, per external edge, and per plan. Pure.

Coupling is independent variability, so each figure answers: what must one side know, have or wait for, of the other?
Source: the talk (API309), dimensions of coupling.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from prebook.contracts.plan import Coupling, Plan, plan_label
from prebook.coupling.channels import COUPLING_TRAITS
from prebook.flows import EventType, Flow
from prebook.messaging.body_codec import CONTENT_TYPES, ce_types
from prebook.topology.coupling_model import CouplingModel, is_message, is_structure, wire_hints, wire_types
from prebook.topology.external_edges import Contact, Control, ExternalEdge
from prebook.topology.model import COUPLING_TOPOLOGIES
from prebook.topology.values import Arrow, Leg, Topology

QUEUE = "queue"
"""Decoupling in time of what an event leads to: the message waits in a queue of its own."""


class FlowScore(msgspec.Struct, frozen=True, kw_only=True):
    """Coupling of caller and provider of one flow, in one coupling."""

    flow: str
    coupling: Coupling
    is_chosen: bool
    """Whether the plan has this coupling for the flow."""
    caller: str
    provider: str
    control: Control
    """Level of control of the caller's team over the provider."""
    leads_to: Mapping[str, Control]
    """Parties outside that the provider contacts for a request, with the level of control over each."""
    temporal_edges: tuple[tuple[str, str], ...]
    """Who waits for whom, and makes no progress while the other one is away."""
    needs_broker: bool
    known_addresses: tuple[str, ...]
    """What each side must know to send: a host, or a name on the broker."""
    formats: tuple[str, ...]
    """Content types, each of which every receiver reads."""
    shared_types: tuple[str, ...]
    """Types of the messages in all versions, which both sides must understand."""
    hops: int
    """Steps of the request and its reply from one process or part of the broker to the next."""
    broker_messages: int
    """Messages that one request and its reply publish."""
    http_requests: int
    """HTTP requests of one request and its reply; both sides must be up at that moment."""


class ExternalScore(msgspec.Struct, frozen=True, kw_only=True):
    """Coupling of the suite and a party outside it, under the plan."""

    edge: str
    near: str
    party: str
    control: Control
    contact: Contact
    trigger: str
    """Flow or event whose handling contacts the party."""
    decoupled_by: str
    """Queue, or coupling of the flow, that lets the suite go on while the party is away; empty if nothing does."""
    waiting: tuple[str, ...]
    """Flows whose callers wait for the party."""
    max_wait_s: float | None
    translators: tuple[str, ...]
    shared_types: tuple[str, ...]
    """Bodies of messages between services that the party sees."""
    shared_values: tuple[str, ...]
    """Structures that messages are made of and that the party sees too."""


class PlanScore(msgspec.Struct, frozen=True, kw_only=True):
    """Coupling of a whole plan: the sums over its flows."""

    plan: str
    couplings: Mapping[str, Coupling]
    temporal_edges: int
    up_at_once: int
    """Largest number of services that must be up at the same moment for one of them to make progress."""
    known_addresses: int
    hops: int
    needs_broker: bool
    waits_outside: tuple[str, ...]
    """Parties of low control that a caller waits for."""


def flow_scores(model: CouplingModel) -> list[FlowScore]:
    """Return the scores of all flows in all couplings."""
    return [_flow_score(model, flow, coupling) for flow in model.flows for coupling in Coupling]


def external_scores(model: CouplingModel) -> list[ExternalScore]:
    """Return the scores of all external edges."""
    return [_external_score(model, edge) for edge in model.external_edges]


def plan_scores(model: CouplingModel, plans: Iterable[tuple[str, Plan]]) -> list[PlanScore]:
    """Return the scores of named plans."""
    return [_plan_score(replace(model, plan=plan), name) for name, plan in plans]


def uniform_plans(model: CouplingModel) -> list[tuple[str, Plan]]:
    """Return one plan per coupling, in which every flow has it, with its name."""
    plans = [dict.fromkeys((flow.name for flow in model.flows), coupling) for coupling in Coupling]
    return [(plan_label(plan), plan) for plan in plans]


def _flow_score(model: CouplingModel, flow: Flow[Any, Any], coupling: Coupling) -> FlowScore:
    traits = COUPLING_TRAITS[coupling]
    part = COUPLING_TOPOLOGIES[coupling](flow)
    party = model.party(flow.provider)
    return FlowScore(
        flow=flow.name,
        coupling=coupling,
        is_chosen=model.plan[flow.name] is coupling,
        caller=flow.caller,
        provider=flow.provider,
        control=party.control if party else Control.LOW,
        leads_to={e.party.name: e.party.control for e in model.external_edges if e.trigger is flow},
        temporal_edges=((flow.caller, flow.provider),) if traits.replies_inline else (),
        needs_broker=traits.needs_broker_up,
        known_addresses=tuple(sorted({*_known_hosts(part), *_known_names(model, part)})),
        formats=CONTENT_TYPES,
        shared_types=tuple(name for body in (flow.request_type, *flow.reply_types) for name in ce_types(body)),
        hops=sum(arrow.leg is not Leg.POLL for arrow in part.arrows),
        broker_messages=len(part.grants),
        http_requests=len(_http_requests(part)),
    )


def _http_requests(part: Topology) -> list[Arrow]:
    """Return the arrows from one process to another by HTTP, without responses and polls, which are pulled."""
    stops = {exchange.name for exchange in part.exchanges} | {queue.address for queue in part.queues}
    return [arrow for arrow in part.arrows if not arrow.pulled and not {arrow.source, arrow.target} & stops]


def _known_hosts(part: Topology) -> Iterable[str]:
    return (f"{arrow.source}: host of {arrow.target}" for arrow in _http_requests(part))


def _known_names(model: CouplingModel, part: Topology) -> Iterable[str]:
    """Yield the services that a sender names in a routing key."""
    services = {name for flow in model.flows for name in (flow.caller, flow.provider)}
    for grant in part.grants:
        for name in sorted(services & set(grant.routing_key.split("."))):
            yield f"{grant.account}: name of {name}"


def _external_score(model: CouplingModel, edge: ExternalEdge) -> ExternalScore:
    seen = wire_types(edge)
    return ExternalScore(
        edge=edge.name,
        near=edge.near,
        party=edge.party.name,
        control=edge.party.control,
        contact=edge.contact,
        trigger=edge.trigger.name if edge.trigger else "",
        decoupled_by=_decoupled_by(model, edge),
        waiting=tuple(flow.name for flow in _waiting(model, edge)),
        max_wait_s=edge.max_wait_s,
        translators=tuple(sorted(filter(None, wire_hints(edge)))),
        shared_types=tuple(sorted(t.__name__ for t in seen if is_message(t))),
        shared_values=tuple(sorted(t.__name__ for t in seen & model.vocabulary if is_structure(t))),
    )


def _waiting(model: CouplingModel, edge: ExternalEdge) -> tuple[Flow[Any, Any], ...]:
    return model.waiting_flows(edge.trigger) if edge.contact is Contact.CALLED else ()


def _decoupled_by(model: CouplingModel, edge: ExternalEdge) -> str:
    if isinstance(edge.trigger, EventType):
        return QUEUE
    if edge.trigger and not model.waits(edge.trigger):
        return str(model.plan[edge.trigger.name])
    return ""


def _plan_score(model: CouplingModel, name: str) -> PlanScore:
    scores = [score for score in flow_scores(model) if score.is_chosen]
    waits = [pair for score in scores for pair in score.temporal_edges]
    outside = {edge.party for edge in model.external_edges if _waiting(model, edge)}
    return PlanScore(
        plan=name,
        couplings=model.plan,
        temporal_edges=len(waits),
        up_at_once=max(map(len, _groups(waits)), default=1),
        known_addresses=sum(len(score.known_addresses) for score in scores),
        hops=sum(score.hops for score in scores),
        needs_broker=any(score.needs_broker for score in scores),
        waits_outside=tuple(sorted(party.name for party in outside if party.control is Control.LOW)),
    )


def _groups(pairs: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Return the sets of services that pairs connect."""
    groups: list[set[str]] = []
    for pair in pairs:
        joined = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in joined] + [set(pair).union(*joined)]
    return groups
