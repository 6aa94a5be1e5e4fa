"""HTTP API for replays of dead letters."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import uuid4

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.replays import (
    MessagesByReason,
    RedeliveryState,
    ReplayPage,
    ReplayRequest,
    ReplayState,
    ReplayView,
)
from prebook.http.bodies import StrictBody
from prebook.http.operator_guard import GUARD_STATUSES, operator_of
from prebook.http.problems import Problem, found_or_404, problem_responses
from prebook.messaging.clock import utc_now
from prebook.operations.dead_letters.api import check_selection
from prebook.operations.replays.eligibility import ReplaySnapshot, snapshot_of
from prebook.operations.replays.redelivery import TargetsByQueue
from prebook.operations.replays.store import NewReplay, ReplayWork
from prebook.operations.replays.throttle import batch_sizes
from prebook.replay.eligibility import ReplayPolicy
from prebook.runtime.service import ServiceContext

AnyRequest = Request[Any, Any, Any]
MAX_LISTED = 100
ReplayId = Annotated[str, PathParameter(pattern="^[0-9a-f]{12}$")]
LOCATION = ResponseHeader(name="Location", description="URL of the replay", documentation_only=True, required=False)


def routes(
    context: ServiceContext[ReplayWork], *, targets: TargetsByQueue, inbox_dedup_s: float
) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers for replays.

    ``targets``: those of every queue that a service consumes. ``inbox_dedup_s``: deduplication window of the services'
    inboxes, in seconds.
    """
    return [_create_route(context, targets, inbox_dedup_s), *_progress_routes(context), _cancel_route(context)]


def _create_route(
    context: ServiceContext[ReplayWork], targets: TargetsByQueue, inbox_dedup_s: float
) -> ControllerRouterHandler:
    @post(
        "/v1/replays",
        status_code=202,
        dto=StrictBody[ReplayRequest],
        return_dto=None,
        summary="Replay a fixed set of dead letters; with dry_run, only show what would be sent",
        response_headers=[LOCATION],
        responses={
            200: ResponseSpec(ReplayView, description="a dry run", generate_examples=False),
            **problem_responses(400, 409, 413, 415, 422, *GUARD_STATUSES),
        },
    )
    async def create_replay(request: AnyRequest, data: Annotated[ReplayRequest, Body()]) -> Response[ReplayView]:
        selection = check_selection(data.selection)
        policy = ReplayPolicy(now=utc_now(), inbox_dedup_s=inbox_dedup_s, force=data.force)
        async with context.units.commands() as work:
            snapshot = snapshot_of(await work.lock_candidates(selection), targets, policy)
            if data.dry_run:
                return Response(_dry_run_view(snapshot, data, policy, operator_of(request)), status_code=200)
            if not snapshot.candidates:
                raise Problem(409, "nothing_to_replay", _nothing_eligible(snapshot.ineligible))
            replay_id = uuid4().hex[:12]
            await work.create_replay(_new_replay(replay_id, snapshot, data, operator_of(request)))
            view = await _find(work, replay_id)
        return Response(view, status_code=202, headers={"location": f"/v1/replays/{replay_id}"})

    return create_replay


def _progress_routes(context: ServiceContext[ReplayWork]) -> Sequence[ControllerRouterHandler]:
    @get("/v1/replays", summary="List the newest replays", responses=problem_responses(400, *GUARD_STATUSES))
    async def list_replays() -> ReplayPage:
        async with context.units.commands() as work:
            return ReplayPage(replays=tuple(await work.list_replays(MAX_LISTED)))

    @get(
        "/v1/replays/{replay_id:str}",
        summary="Show the progress of a replay",
        responses=problem_responses(400, 404, *GUARD_STATUSES),
    )
    async def get_replay(replay_id: ReplayId) -> ReplayView:
        async with context.units.commands() as work:
            return await _find(work, replay_id)

    return [list_replays, get_replay]


def _cancel_route(context: ServiceContext[ReplayWork]) -> ControllerRouterHandler:
    @delete(
        "/v1/replays/{replay_id:str}",
        status_code=200,
        summary="Cancel a replay; messages in flight are awaited",
        responses=problem_responses(400, 404, 409, *GUARD_STATUSES),
    )
    async def cancel_replay(request: AnyRequest, replay_id: ReplayId) -> ReplayView:
        async with context.units.commands() as work:
            found = await _find(work, replay_id)
            if not await work.cancel_replay(replay_id, operator=operator_of(request)):
                raise Problem(409, "ended", f"this replay has ended: {found.state}; nothing is left to cancel")
            return await _find(work, replay_id)

    return cancel_replay


def _new_replay(replay_id: str, snapshot: ReplaySnapshot, data: ReplayRequest, operator: str) -> NewReplay:
    return NewReplay(
        id=replay_id,
        candidates=snapshot.candidates,
        beyond_retention=snapshot.beyond_retention,
        ineligible=msgspec.json.encode(snapshot.ineligible),
        rate_per_s=data.rate_per_s,
        keep_going=data.keep_going,
        force=data.force,
        operator=operator,
    )


def _dry_run_view(snapshot: ReplaySnapshot, data: ReplayRequest, policy: ReplayPolicy, operator: str) -> ReplayView:
    count = len(snapshot.candidates)
    return ReplayView(
        id="",
        state=ReplayState.DRY_RUN,
        reason="nothing was sent",
        operator=operator,
        created_at=policy.now,
        ended_at=None,
        messages=count,
        counts={RedeliveryState.REQUESTED: count} if count else {},
        duplicates=0,
        beyond_retention=len(snapshot.beyond_retention),
        batches=tuple(batch_sizes(count, data.rate_per_s))[:MAX_LISTED],
        ineligible=snapshot.ineligible,
    )


def _nothing_eligible(ineligible: Sequence[MessagesByReason]) -> str:
    reasons = "; ".join(f"{group.messages} message(s): {group.reason}" for group in ineligible)
    return reasons or "no dead letter matches the selection; GET /v1/dead-letters lists them"


async def _find(work: ReplayWork, replay_id: str) -> ReplayView:
    """Return the replay. Raises Problem if there is none with this id."""
    found = await work.find_replay(replay_id)
    return found_or_404(found, "replay_not_found", f"there is no replay {replay_id}; GET /v1/replays lists them")
