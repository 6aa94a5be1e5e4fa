"""The event that all experiments publish: ``OfferSettled``, on one-way channels."""

from collections.abc import Mapping

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.patterns.trace import NO_TRACE, TraceContext

PLAN: Mapping[str, Coupling] = dict.fromkeys(FLOWS, Coupling.ONE_WAY)


def offer_settled(booking_id: str, driver: str = "lab") -> OfferSettled:
    """Return the body of an event; experiments put the identity of a message into ``booking_id`` and ``driver``."""
    return OfferSettled(booking_id=booking_id, fleet="lab", driver=driver, verdict=OfferVerdict.ACCEPTED)


def offer_settled_envelope(
    message_id: str, body: OfferSettled, *, conversation_id: str, trace: TraceContext = NO_TRACE
) -> Envelope:
    """Return an event from the service that publishes ``OfferSettled``, with the present time."""
    return Envelope(
        id=message_id,
        kind=MessageKind.EVENT,
        flow=OFFER_SETTLED.name,
        body=body,
        source=OFFER_SETTLED.publisher,
        conversation_id=conversation_id,
        time=utc_now(),
        plan=PLAN,
        trace=trace,
    )
