"""Variations: a change of one side of a flow, what it takes to follow it, and the expected verdicts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prebook.contracts.plan import Coupling
from prebook.flows import Flow
from prebook.lab.experiments.variability.cell import Verdict
from prebook.lab.experiments.variability.deployments import Release
from prebook.lab.experiments.variability.steady_load import Plans
from prebook.lab.load.plans import uniform_plan

if TYPE_CHECKING:
    from prebook.lab.experiments.variability.site import TrialSite


class Dimension(StrEnum):
    """Dimensions of coupling, as the talk names them."""

    TEMPORAL = "temporal"
    LOCATION = "location"
    FORMAT = "format"
    DATA_TYPE = "data type"
    SEMANTICS = "semantics"
    STYLE = "interaction style"
    CONVERSATION = "conversation"
    TOPOLOGY = "topology"


CLAIMS: Mapping[Dimension, str] = {
    Dimension.TEMPORAL: "B8",
    Dimension.LOCATION: "B5",
    Dimension.FORMAT: "B4",
    Dimension.DATA_TYPE: "B6",
    Dimension.SEMANTICS: "B7",
    Dimension.STYLE: "B9",
    Dimension.CONVERSATION: "B10",
    Dimension.TOPOLOGY: "B1",
}
"""Claim of the talk that a dimension shows, beside B1 (independent variability) and B3 (not binary)."""


class Side(StrEnum):
    """Side of a flow."""

    PROVIDER = "provider"
    CALLER = "caller"


@dataclass(frozen=True)
class Expectation:
    """Expected verdict on the side that is not changed, and the reason."""

    verdict: Verdict
    reason: str


UNIFORM_PLANS: Plans = {coupling.value: uniform_plan(coupling) for coupling in Coupling}
Apply = Callable[["TrialSite"], Awaitable[None]]


@dataclass(frozen=True)
class FollowUp:
    """The change of the other side that a change requires. ``text``: what is changed, for the table."""

    text: str
    apply: Apply = field(repr=False)
    settings: int = 0
    """Settings that are changed."""
    files: int = 0
    """Files of the program that are changed."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One row of the matrix in one direction. ``change``: predicate of a sentence about the changed service."""

    dimension: Dimension
    side: Side
    detail: str = ""
    """Tells variations of one dimension and side apart."""
    flow: Flow[Any, Any]
    change: str
    apply: Apply = field(repr=False)
    before: Mapping[str, Release] = field(default_factory=dict)
    """Releases that run before the change, by service, in place of the suite's."""
    plans_before: Plans = field(default_factory=lambda: UNIFORM_PLANS, repr=False)
    """Plan of each column's rides before the change."""
    follow_up: FollowUp | None = None
    expected: Mapping[Coupling, Expectation]
    quick: bool = False

    @property
    def name(self) -> str:
        """Name for ``--only``, idempotency keys and logs."""
        words = (self.dimension, self.detail, self.side)
        return "-".join(word.replace(" ", "-") for word in words if word)

    @property
    def changed_service(self) -> str:
        """Service that is changed."""
        return self.flow.provider if self.side is Side.PROVIDER else self.flow.caller

    @property
    def other_service(self) -> str:
        """Service at the other side of the flow."""
        return self.flow.caller if self.side is Side.PROVIDER else self.flow.provider


@dataclass(frozen=True, kw_only=True)
class NotMeasurable:
    """A row and direction of the matrix that no run can show, and the reason."""

    dimension: Dimension
    side: Side
    detail: str = ""
    reason: str


def expect_all(verdict: Verdict, reason: str) -> dict[Coupling, Expectation]:
    """Return one expectation for all couplings."""
    return dict.fromkeys(Coupling, Expectation(verdict, reason))
