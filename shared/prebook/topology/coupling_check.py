"""Check of the coupling: tight edges to parties of low control, each with a remedy. Pure.

An edge is tight if somebody waits for the party, if no message translator stands between its format and the suite's, or
if it sees the type of a message between services. Source: the talk (API309), "coupling is a function of the level of
control"; EIP, Message Translator.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from prebook.topology.coupling_model import CouplingModel, is_message, wire_hints
from prebook.topology.external_edges import Contact, Control, ExternalEdge, Party
from prebook.topology.type_references import UNTYPED, referenced_types


class Tightness(StrEnum):
    """Reason why an edge is too tight for the level of control."""

    SYNCHRONOUS = "synchronous"
    """The caller of the flow that contacts the party waits for the reply."""
    SYNCHRONOUS_CHAIN = "synchronous chain"
    """The caller of an earlier flow waits."""
    UNBUFFERED = "unbuffered"
    """Nothing keeps the contact while the party is away."""
    UNLIMITED_WAIT = "unlimited wait"
    SYNCHRONOUS_LOOKUP = "synchronous lookup"
    """A service reads the party's data before it goes on."""
    NO_TRANSLATOR = "no translator"
    UNTYPED_TRANSLATOR = "untyped translator"
    """The type hints of the translator do not say what the party sees."""
    SHARED_TYPE = "shared type"
    """The party sees the body of a message between services."""
    PARTY_IN_FLOW = "party in a flow"
    """No service stands between the party and the suite's requests and replies."""
    PARTY_AS_SUBSCRIBER = "party as a subscriber"
    """No service stands between the party and the suite's events."""
    UNDECLARED_PARTY = "undeclared party"
    """The level of control over the party is declared nowhere."""


BLIND_SPOTS = (
    "an edge that no service declares, such as a call by another library, a shared file or a shared table",
    "a level of control that is declared too high",
    "formats that are text or bytes to the suite: their fields, units and meaning",
    "values that messages and outside formats share, such as an amount of money (`scorecard` lists them)",
    "a translator that copies every field of a message",
    "a plan that a booking brings itself, or that PREBOOK_COUPLING_<FLOW> sets in one process",
    "chains through events, and code in which a caller waits for a message",
)
"""Tight edges that the check does not see."""


@dataclass(frozen=True, order=True)
class TightEdge:
    """One reason why an edge is too tight. ``problem`` and ``remedy`` are for the person who corrects it."""

    edge: str
    tightness: Tightness
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.edge}: {self.tightness}: {self.problem}; {self.remedy}"


def tight_edges(model: CouplingModel) -> list[TightEdge]:
    """Return all tight edges to parties of low control or without a level, sorted; empty if there is none."""
    found = {*_flow_ends(model), *_subscribers(model), *_lookups(model), *_accounts(model)}
    for edge in model.external_edges:
        if edge.party.control is Control.LOW:
            found |= {*_waits(model, edge), *_formats(edge)}
    return sorted(found)


def _waits(model: CouplingModel, edge: ExternalEdge) -> Iterator[TightEdge]:
    """Yield the reasons in time. A party that pulls, or that calls the suite, lets nobody wait."""
    if edge.contact is not Contact.CALLED:
        return
    party = edge.party.name
    if edge.trigger is None:
        problem = f"nothing keeps the call while {party} are away"
        yield TightEdge(edge.name, Tightness.UNBUFFERED, problem, "call from the handler of an event or of a request")
    if edge.max_wait_s is None:
        problem = f"{edge.near} waits for {party} without a limit"
        yield TightEdge(edge.name, Tightness.UNLIMITED_WAIT, problem, "set max_wait_s, and end the call after it")
    for flow in model.waiting_flows(edge.trigger):
        is_own = flow is edge.trigger
        called = f"{flow.provider} calls {party}" if is_own else f"it leads to a call of {party}"
        yield TightEdge(
            edge.name,
            Tightness.SYNCHRONOUS if is_own else Tightness.SYNCHRONOUS_CHAIN,
            f"{flow.caller} waits for {flow.name} ({model.plan[flow.name]}), and {called}",
            f"couple {flow.name} by async_api, one_way or request_reply",
        )


def _formats(edge: ExternalEdge) -> Iterator[TightEdge]:
    if not edge.sends and not edge.receives:
        problem = f"{edge.party.name} see the suite's own format"
        yield TightEdge(edge.name, Tightness.NO_TRANSLATOR, problem, "translate to a format of the edge, in sends")
    for translator, hint in wire_hints(edge).items():
        if hint in UNTYPED:
            problem = f"{translator} has no type of what the party sees"
            yield TightEdge(edge.name, Tightness.UNTYPED_TRANSLATOR, problem, "annotate it")
        for shared in sorted(filter(is_message, referenced_types([hint])), key=str):
            problem = f"{edge.party.name} see {shared.__name__}, a message between services"
            yield TightEdge(edge.name, Tightness.SHARED_TYPE, problem, "give the edge a type of its own")


def _flow_ends(model: CouplingModel) -> Iterator[TightEdge]:
    for flow in model.flows:
        for name in (flow.caller, flow.provider):
            yield from _undeclared(model, flow.name, name)
            if (party := _low_control(model, name)) is None:
                continue
            bodies = ", ".join(body.__name__ for body in (flow.request_type, *flow.reply_types))
            remedy = f"let a service of the suite take part in {flow.name}, and translate for {party.name}"
            yield TightEdge(flow.name, Tightness.PARTY_IN_FLOW, f"{name} shares {bodies}", remedy)
            if model.waits(flow):
                problem = f"{flow.caller} waits for {flow.provider} ({model.plan[flow.name]})"
                remedy = f"couple {flow.name} by async_api, one_way or request_reply"
                yield TightEdge(flow.name, Tightness.SYNCHRONOUS, problem, remedy)


def _subscribers(model: CouplingModel) -> Iterator[TightEdge]:
    for event in model.event_types:
        for name in (event.publisher, *sorted(event.subscribers)):
            yield from _undeclared(model, event.name, name)
            if _low_control(model, name):
                problem = f"{name} shares {event.body_type.__name__}, the body of the event"
                remedy = "declare an external edge with a translator, such as a pipe, in place of the subscription"
                yield TightEdge(event.name, Tightness.PARTY_AS_SUBSCRIBER, problem, remedy)


def _lookups(model: CouplingModel) -> Iterator[TightEdge]:
    for lookup in model.lookups:
        for name in (lookup.reader, lookup.owner):
            yield from _undeclared(model, lookup.name, name)
        if _low_control(model, lookup.owner):
            problem = f"{lookup.reader} waits for data of {lookup.owner}"
            remedy = "keep a copy of the data, filled by messages, and read that"
            yield TightEdge(lookup.name, Tightness.SYNCHRONOUS_LOOKUP, problem, remedy)
        if _low_control(model, lookup.reader):
            problem = f"{lookup.reader} reads the internal format of {lookup.owner}"
            yield TightEdge(lookup.name, Tightness.NO_TRANSLATOR, problem, "publish the data in a format of the edge")


def _accounts(model: CouplingModel) -> Iterable[TightEdge]:
    """Yield the broker accounts that read a queue and belong to nobody that is declared."""
    return (found for grant in model.read_grants for found in _undeclared(model, grant.queue, grant.account))


def _undeclared(model: CouplingModel, edge: str, name: str) -> Iterator[TightEdge]:
    if model.party(name) is None:
        problem = f"the level of control over {name} is declared nowhere"
        remedy = "declare its party, or an external edge, with prebook.topology.external_edges"
        yield TightEdge(edge, Tightness.UNDECLARED_PARTY, problem, remedy)


def _low_control(model: CouplingModel, name: str) -> Party | None:
    party = model.party(name)
    return party if party and party.control is Control.LOW else None
