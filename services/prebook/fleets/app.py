"""Composition root of the fleets service: handler table, API, and loops of the partners."""

from typing import Any

from prebook.fleets.api import internal_routes
from prebook.fleets.external_edges import EXTERNAL_EDGES
from prebook.fleets.handlers import handle_offer_settled, handle_route_planned, offer_driver, partner_caller
from prebook.fleets.invalid_messages import PARKING_INTERVAL_S, InvalidMessageChannel
from prebook.fleets.partner_wire import HttpPartnerWire, partner_wire
from prebook.fleets.retention import PURGES
from prebook.fleets.sql import FleetsSql
from prebook.flows import ASK_FLEET, FLEETS, OFFER_SETTLED, ROUTE_PLANNED
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.runtime.loops import run_every
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings


def handlers(settings: ServiceSettings) -> Handlers[FleetsSql]:
    """Handler table of fleets."""
    call = partner_caller(partner_wire(settings).calls, settings.partner_timeout_s)
    return Handlers(
        on_request={ASK_FLEET: HandlerSpec(offer_driver, pre_transaction=call)},
        on_event={
            OFFER_SETTLED: HandlerSpec(handle_offer_settled),
            ROUTE_PLANNED: HandlerSpec(handle_route_planned),
        },
    )


def extensions(context: ServiceContext[Any]) -> ServiceExtensions:
    """The partners' conditions for the console, the loop that parks unreadable replies, and the partners' listeners."""
    wire = partner_wire(context.settings)
    invalid_messages = InvalidMessageChannel(context)
    listeners = {"partner_listeners": wire} if isinstance(wire, HttpPartnerWire) else {}
    return ServiceExtensions(
        internal_routes=internal_routes(context, wire),
        loops={
            "invalid_messages": lambda: run_every(PARKING_INTERVAL_S, invalid_messages.park_recorded),
            **{name: each.run for name, each in listeners.items()},
        },
        connections={name: each.listeners.up for name, each in listeners.items()},
    )


SERVICE = Service(
    name=FLEETS,
    handlers=handlers,
    unit_of_work=FleetsSql,
    extensions=extensions,
    purges=PURGES,
    external_edges=EXTERNAL_EDGES,
)
