"""States of the fleets' tables."""

from enum import StrEnum


class ReservationState(StrEnum):
    """State of a reservation."""

    RESERVED = "reserved"
    """The driver is offered to the booking; another booking may reserve the slot after ``expires_at``."""
    BOOKED = "booked"
    """The offer was accepted; the slot stays taken."""
