"""The campaign's discount, as long as there is one."""

from prebook.pricing.domain.money import part

DISCOUNT_PERCENT = 10
NAME = "launch"


def discount_on(cents: int) -> int:
    """What the campaign takes off a fare of so many cents."""
    return part(cents, DISCOUNT_PERCENT)
