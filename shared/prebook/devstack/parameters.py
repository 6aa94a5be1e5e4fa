"""What `prebook` and the load test take on their command lines, and refuse there alike."""

import math
import os
from pathlib import Path
from typing import Any

import rich_click as click

from prebook.devstack.service_environment import BROKER_NODE_CHOICES


class FiniteRange(click.FloatRange):
    """Without `nan`, which no bound holds back, and `inf`, which comes to no end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not finite; give a number such as 2.5.", param, ctx)
        return number


class WritableFolder(click.Path):
    """To write into. It may be still to make: then what there is of the way to it counts."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        folder = Path(os.fsdecode(super().convert(value, param, ctx)))
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            why = "cannot be written to" if there.is_dir() else "is no folder"
            self.fail(f"{there} {why}; choose another folder.", param, ctx)
        return folder


POSITIVE = FiniteRange(min=0, min_open=True)
WRITABLE_FOLDER = WritableFolder()


broker_nodes_option = click.option(
    "--broker-nodes",
    type=click.Choice(BROKER_NODE_CHOICES),
    default=BROKER_NODE_CHOICES[0],
    show_default=True,
    envvar="PREBOOK_BROKER_NODES",
    help="How many nodes the broker has; 3 make a cluster, whose queues survive the end of any one of them.",
)
