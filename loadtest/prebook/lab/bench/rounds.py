"""Both sides in turns, so that what the machine does meanwhile meets both."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

RoundFigures = Mapping[str, float]
"""Of one round of one side: figure's name -> value."""
RoundRunner = Callable[[], Awaitable[RoundFigures]]


async def run_interleaved(sides: Mapping[str, RoundRunner], rounds: int) -> dict[str, dict[str, list[float]]]:
    """side -> figure -> one value for each round. Who goes first changes with every round; one more is thrown away."""
    found: dict[str, dict[str, list[float]]] = {side: defaultdict(list) for side in sides}
    order = list(sides)
    for number in range(rounds + 1):
        for side in order if number % 2 else reversed(order):
            figures = await sides[side]()
            if number:
                for name, value in figures.items():
                    found[side][name].append(value)
    return found
