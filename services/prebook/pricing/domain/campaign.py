"""Discount of the campaign."""

from prebook.pricing.domain.money import percent_of

DISCOUNT_PERCENT = 10
CAMPAIGN_NAME = "launch"


def discount_cents(cents: int) -> int:
    """Discount on a fare, in cents."""
    return percent_of(cents, DISCOUNT_PERCENT)
