"""Edge between fleets and its partners: a call for each request, in the format of each partner."""

from prebook.fleets.domain.message_translators import TRANSLATORS
from prebook.flows import ASK_FLEET, FLEETS
from prebook.runtime.offer_settings import DEFAULT_PARTNER_TIMEOUT_S
from prebook.topology.external_edges import PARTNER_FLEETS, Contact, ExternalEdge

EXTERNAL_EDGES = (
    ExternalEdge(
        name="partner_offer",
        near=FLEETS,
        party=PARTNER_FLEETS,
        contact=Contact.CALLED,
        trigger=ASK_FLEET,
        sends=tuple(translator.encode_request for translator in TRANSLATORS.values()),
        receives=tuple(translator.decode_reply for translator in TRANSLATORS.values()),
        max_wait_s=DEFAULT_PARTNER_TIMEOUT_S,
    ),
)
