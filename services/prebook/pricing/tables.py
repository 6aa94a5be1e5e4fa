"""States of pricing's tables."""

from enum import StrEnum


class DiscountState(StrEnum):
    """State of a booking's discount grant."""

    GRANTED = "granted"
    """The booking has a discount of the campaign."""
    NONE_LEFT = "none_left"
    """The quota was used up when the booking was quoted."""
    RETURNED = "returned"
    """The booking ended and its discount went back to the campaign."""
    ENDED = "ended"
    """The booking ended before it was quoted; a later quote gets no discount."""
