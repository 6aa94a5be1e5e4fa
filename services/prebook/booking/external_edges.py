"""Edges between booking and riders: their requests, and the callbacks to their systems."""

from prebook.booking.handlers import booking_report, trip_report
from prebook.booking.use_cases.book import ride_of
from prebook.booking.views import trip_view_of, view_of
from prebook.flows import BOOKING, REPORT_DUE, TRIP_REPORT_DUE
from prebook.http.rider_callbacks import CALLBACK_TIMEOUT_S
from prebook.topology.external_edges import RIDERS, Contact, ExternalEdge

EXTERNAL_EDGES = (
    ExternalEdge(
        name="rider_api",
        near=BOOKING,
        party=RIDERS,
        contact=Contact.CALLS,
        sends=(view_of, trip_view_of),
        receives=(ride_of,),
    ),
    ExternalEdge(
        name="booking_callback",
        near=BOOKING,
        party=RIDERS,
        contact=Contact.CALLED,
        trigger=REPORT_DUE,
        sends=(booking_report,),
        max_wait_s=CALLBACK_TIMEOUT_S,
    ),
    ExternalEdge(
        name="trip_callback",
        near=BOOKING,
        party=RIDERS,
        contact=Contact.CALLED,
        trigger=TRIP_REPORT_DUE,
        sends=(trip_report,),
        max_wait_s=CALLBACK_TIMEOUT_S,
    ),
)
