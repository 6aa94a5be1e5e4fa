"""What `prebook` and the load test take on their command lines, and refuse there alike."""

import math
from typing import Any

import rich_click as click


class FiniteRange(click.FloatRange):
    """Without `nan`, which no bound holds back, and `inf`, which comes to no end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not finite; give a number such as 2.5.", param, ctx)
        return number


ABOVE_0 = FiniteRange(min=0, min_open=True)
