"""The campaign's discount, as long as there is one."""

from prebook.pricing.domain.money import percent_of

DISCOUNT_PERCENT = 10
CAMPAIGN_NAME = "launch"


def discount_cents(cents: int) -> int:
    """What the campaign takes off a fare of so many cents."""
    return percent_of(cents, DISCOUNT_PERCENT)
