"""The machine on which an experiment runs, for its report."""

import os
import platform
from pathlib import Path

import msgspec

CPUINFO = Path("/proc/cpuinfo")


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Operating system, CPU and load of a machine at one moment."""

    system: str
    python: str
    cores: int
    cpu_model: str
    load_average: float
    """Mean number of running or waiting processes over the last minute."""
    load_average_15min: float


def read_host_info() -> HostInfo:
    """Return the machine on which this process runs, with its present load."""
    load_average, _, load_average_15min = os.getloadavg()
    return HostInfo(
        system=platform.platform(terse=True),
        python=platform.python_version(),
        cores=os.cpu_count() or 1,
        cpu_model=_read_cpu_model(),
        load_average=round(load_average, 2),
        load_average_15min=round(load_average_15min, 2),
    )


def _read_cpu_model() -> str:
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "unknown")
