"""The campaign's discount, as long as there is one."""

from prebook.pricing.domain.fare import raised

DISCOUNT_PERCENT = 10
NAME = "launch"


def discount_on(cents: int) -> int:
    return cents - raised(cents, -DISCOUNT_PERCENT)
