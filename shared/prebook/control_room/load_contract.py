"""Contract of the open-loop load between the page, the console, and the process of the lab that offers the rides."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec


class LoadShape(StrEnum):
    """Arrival process of a load. All except ``constant`` are Poisson processes, and repeat after each period."""

    CONSTANT = "constant"
    POISSON = "poisson"
    STEP = "step"
    """``factor`` times the rate in the second half of each period."""
    SPIKE = "spike"
    """``factor`` times the rate for a tenth of each period, in its middle."""
    SQUARE = "square"
    """The rate and ``factor`` times the rate, for half a period each."""


class LoadPlan(StrEnum):
    """Plans that rides of a load choose. ``default``: none, so that the suite's default plan holds."""

    DEFAULT = "default"
    SYNC_API = "sync_api"
    ASYNC_API = "async_api"
    ONE_WAY = "one_way"
    REQUEST_REPLY = "request_reply"
    MIXED = "mixed"


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An open-loop load: rides arrive by the seed, whatever becomes of earlier ones. Equal settings, equal arrivals."""

    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=500)] = 5.0
    """Rides a second, over all plans, outside of step, spike and upper half."""
    shape: LoadShape = LoadShape.POISSON
    factor: Annotated[float, msgspec.Meta(ge=0, le=50)] = 4.0
    period_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 30.0
    plans: Annotated[tuple[LoadPlan, ...], msgspec.Meta(min_length=1, max_length=6)] = (LoadPlan.DEFAULT,)
    """Every ride is offered once by each of these plans."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 1


class LoadProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Rides of a load so far: ``offered`` is the sum of the four that follow it."""

    offered: int = 0
    accepted: int = 0
    refused: int = 0
    """Riders who were refused with 429 or 503, and who do not come back any more."""
    failed: int = 0
    waiting: int = 0
    """Riders without a response, and refused ones who come back after their Retry-After."""
    returned: int = 0
    """Refused riders who came back and were accepted; part of ``accepted``."""
    rate_per_s: float = 0.0
    """Rate of arrivals at this moment, by the shape."""
    response_p50_ms: float | None = None
    """Time from the intended arrival to the last response, over the last 10 s; null if there was none."""
    response_p99_ms: float | None = None
    lag_p99_ms: float | None = None
    """How late requests left: what the generator itself adds to the response times."""


class LoadPhase(StrEnum):
    """Phase of the load. ``ending``: no ride is offered any more, and some riders still wait."""

    IDLE = "idle"
    RUNNING = "running"
    ENDING = "ending"
    FAILED = "failed"


class LoadState(msgspec.Struct, frozen=True, kw_only=True):
    """The load of the console; ``settings`` are those of the last start or change."""

    phase: LoadPhase = LoadPhase.IDLE
    settings: LoadSettings | None = None
    started_at: datetime | None = None
    progress: LoadProgress = LoadProgress()
    error: str = ""
    """Why it failed."""
