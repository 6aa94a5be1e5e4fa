"""Policies of flows: coupling, deadline, timeout, attempts, backoff and concurrency, read from couplings.toml."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.errors import InvalidPolicies
from prebook.patterns.message_groups import OnPoison
from prebook.patterns.retry import jittered_delays_s, retry_schedule
from prebook.text_file import read_text

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
DEFAULT_MAX_BATCH_SIZE = 16
"""Maximum number of messages that share one transaction."""


class FlowPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One flow's table in couplings.toml. A field's description is its meaning in docs/reference/settings.md."""

    coupling: Annotated[Coupling, msgspec.Meta(description="coupling of the flow in the default plan")]
    deadline_s: Annotated[
        Seconds,
        msgspec.Meta(
            description="seconds after which the caller no longer waits for a reply; longer than all attempts take. "
            "A synchronous call ends by timeout_s"
        ),
    ] = 300.0
    timeout_s: Annotated[
        Seconds, msgspec.Meta(description="total seconds of one synchronous call, retries included")
    ] = 2.0
    max_attempts: Annotated[
        int,
        msgspec.Meta(ge=1, le=50, description="attempts at a message, the first included, before it is parked"),
    ] = 5
    backoff_s: Annotated[
        tuple[Seconds, ...],
        msgspec.Meta(
            min_length=1,
            max_length=8,
            description="seconds before the second, third, ... attempt, each up to 1.4 times as long; the last repeats",
        ),
    ] = (0.2, 1.0, 5.0)
    prefetch: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="messages that one consumer handles at a time")
    ] = 32
    rate_per_s: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=100_000)] | None,
        msgspec.Meta(
            description="requests that one consumer starts per second, for a slow target; the backlog stays queued"
        ),
    ] = None
    max_batch_size: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=100,
            description="messages that share one transaction, each of another conversation; 1: one transaction each",
        ),
    ] = DEFAULT_MAX_BATCH_SIZE
    on_poison: Annotated[
        OnPoison,
        msgspec.Meta(
            description="in a message group, what happens to later messages of a parked message's conversation: "
            "continue handles them, block makes them wait, park parks them behind it"
        ),
    ] = OnPoison.CONTINUE


Policies = Mapping[str, FlowPolicy]
"""Policy by flow name."""


class _PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    """``topology.ride_subscriptions`` and ``topology.archive`` read the tables other than ``flows``."""

    flows: dict[str, FlowPolicy]
    desks: Any = None
    extraordinary_rides: Any = None
    archive: Any = None


def read_policies(path: Path) -> dict[str, FlowPolicy]:
    """Read the policies of all flows from a couplings.toml.

    Raises InvalidPolicies, with file and place, also if a flow's attempts do not end before its deadline.
    """
    try:
        flows = msgspec.convert(tomllib.loads(read_text(path)), _PolicyFile).flows
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidPolicies(f"{path}: {error}") from error
    if flows.keys() != FLOWS.keys():
        raise InvalidPolicies(
            f"{path}: needs a table for each of {', '.join(FLOWS)}, and no other; has {', '.join(flows)}"
        )
    if problems := [problem for name, policy in flows.items() if (problem := _schedule_problem(name, policy))]:
        raise InvalidPolicies(f"{path}: {'; '.join(problems)}")
    return flows


def _schedule_problem(flow: str, policy: FlowPolicy) -> str:
    """Return why the deadline of a flow is too short for its attempts, with the remedy; empty if it is not."""
    _, last_s = retry_schedule(max_attempts=policy.max_attempts, backoff_s=policy.backoff_s)[-1].at_s
    if last_s < policy.deadline_s:
        return ""
    return (
        f"flows.{flow}: attempt {policy.max_attempts} comes up to {last_s:g} s after the first, and deadline_s is "
        f"{policy.deadline_s:g}; raise deadline_s above {last_s:g}, or lower max_attempts or backoff_s"
    )


def default_plan(policies: Policies) -> dict[str, Coupling]:
    """Return the plan of a booking that chooses no couplings."""
    return {name: policies[name].coupling for name in FLOWS}


def retry_delays_s(policies: Policies) -> frozenset[float]:
    """Return all retry delays of all flows, in seconds: the rungs of the retry ladder, one delay queue each."""
    return frozenset(
        delay_s for policy in policies.values() for base_s in policy.backoff_s for delay_s in jittered_delays_s(base_s)
    )
