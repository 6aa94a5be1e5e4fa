"""Conversion of planned arrivals and faults to the lines of a report."""

from prebook.lab.faults import TimedFault
from prebook.lab.load.arrivals import Arrivals
from prebook.lab.report.model import ArrivalsLine, FaultLine


def arrivals_line(arrivals: Arrivals) -> ArrivalsLine:
    """Return the arrivals as the report describes them."""
    burst = arrivals.burst
    return ArrivalsLine(
        process=arrivals.process.value,
        rate_per_s=arrivals.rate_per_s,
        duration_s=arrivals.duration_s,
        burst={
            "start_fraction": burst.start_fraction,
            "duration_fraction": burst.duration_fraction,
            "factor": burst.factor,
        }
        if burst
        else None,
    )


def fault_line(fault: TimedFault | None, arrivals: Arrivals) -> FaultLine | None:
    """Return the planned fault with its times in seconds, or None without a fault."""
    if fault is None:
        return None
    return FaultLine(
        name=fault.fault.name,
        kind=fault.kind.value,
        target=fault.target,
        start_s=round(fault.start_fraction * arrivals.duration_s, 3),
        duration_s=round(fault.duration_fraction * arrivals.duration_s, 3),
    )
