"""Interleaved rounds of several sides, so that disturbances of the machine affect all sides alike."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

RoundFigures = Mapping[str, float]
"""Figures of one round of one side, by name."""
RoundRunner = Callable[[], Awaitable[RoundFigures]]
"""Runs one round of one side."""


async def run_interleaved(sides: Mapping[str, RoundRunner], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Run a warm-up round and ``rounds`` measured ones; the order of the sides is reversed in every other round.

    Return for each side and figure one value per measured round.
    """
    values: dict[str, dict[str, list[float]]] = {side: defaultdict(list) for side in sides}
    order = list(sides)
    for number in range(rounds + 1):
        for side in order if number % 2 else reversed(order):
            figures = await sides[side]()
            if number:
                for name, value in figures.items():
                    values[side][name].append(value)
    return values
