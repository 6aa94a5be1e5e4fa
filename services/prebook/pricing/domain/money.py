"""Arithmetic on cents. Whole numbers only, every division rounded half up."""

HUNDRED_PERCENT = 100


def divide_half_up(numerator: int, denominator: int) -> int:
    """``numerator / denominator``, neither below zero; exactly one half rounds up."""
    return (2 * numerator + denominator) // (2 * denominator)


def percent_of(cents: int, percent: int) -> int:
    """So many percent of an amount, rounded half up; neither below zero."""
    return divide_half_up(cents * percent, HUNDRED_PERCENT)
