"""Arithmetic on cents. Whole numbers only, every division rounded half up."""

HUNDRED_PERCENT = 100


def divide_half_up(numerator: int, denominator: int) -> int:
    """``numerator / denominator``, neither below zero; exactly one half rounds up."""
    return (2 * numerator + denominator) // (2 * denominator)


def percent_of(cents: int, percent: int) -> int:
    """Percentage of an amount in cents, rounded half up; both arguments at least 0."""
    return divide_half_up(cents * percent, HUNDRED_PERCENT)
