"""Operations' HTTP: replays."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import msgspec
from litestar import Response, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.replays import (
    IneligibleMessages,
    RedeliveryState,
    ReplayPage,
    ReplayRequest,
    ReplayState,
    ReplayView,
)
from prebook.http.bodies import StrictBody
from prebook.http.problems import Problem
from prebook.messaging.clock import utc_now
from prebook.operations.dead_letters.api import check_selection, problem_responses
from prebook.operations.replays.eligibility import ReplayCandidate, ReplayPolicy, ineligible_reason, sort_candidates
from prebook.operations.replays.throttle import batch_sizes
from prebook.operations.store import NewReplay, OperationsWork
from prebook.runtime.service import ServiceContext

MAX_LISTED = 100
ReplayId = Annotated[str, PathParameter(pattern="^[0-9a-f]{12}$")]
LOCATION = ResponseHeader(name="Location", description="where its progress is", documentation_only=True, required=False)


@dataclass(frozen=True)
class ReplaySnapshot:
    """What a replay takes of a selection, in order, and what it does not."""

    items: Sequence[ReplayCandidate]
    beyond_retention: frozenset[int]
    ineligible: tuple[IneligibleMessages, ...]


def snapshot_of(candidates: Sequence[ReplayCandidate], policy: ReplayPolicy) -> ReplaySnapshot:
    objections: dict[str, list[int]] = defaultdict(list)
    for candidate in candidates:
        objections[ineligible_reason(candidate, policy)].append(candidate.id)
    taken = frozenset(objections.pop("", ()))
    refused = (
        IneligibleMessages(reason=why, messages=len(ids), ids=tuple(ids[:MAX_LISTED]))
        for why, ids in objections.items()
    )
    items = sort_candidates([candidate for candidate in candidates if candidate.id in taken])
    return ReplaySnapshot(items, frozenset(c.id for c in items if policy.is_beyond_retention(c)), tuple(refused))


def routes(
    context: ServiceContext[OperationsWork], *, queues: Collection[str], inbox_dedup_s: float
) -> Sequence[ControllerRouterHandler]:
    @post(
        "/v1/replays",
        status_code=202,
        dto=StrictBody[ReplayRequest],
        return_dto=None,
        summary="Send parked messages again: a fixed set of them, or with dry_run only say what would be sent",
        response_headers=[LOCATION],
        responses={
            200: ResponseSpec(ReplayView, description="a dry run", generate_examples=False),
            **problem_responses(400, 409, 413, 422),
        },
    )
    async def begin(data: Annotated[ReplayRequest, Body()]) -> Response[ReplayView]:
        selection, now = check_selection(data.selection), utc_now()
        terms = ReplayPolicy(now=now, inbox_dedup_s=inbox_dedup_s, queues=queues, force=data.force)
        async with context.begin() as work:
            taken = snapshot_of(await work.lock_candidates(selection), terms)
            if data.dry_run:
                return Response(_dry_run_view(taken, data, terms), status_code=200)
            if not taken.items:
                raise Problem(409, "nothing_to_replay", _nothing_eligible(taken.ineligible))
            replay_id = uuid4().hex[:12]
            await work.create_replay(_new_replay(replay_id, taken, data))
            view = await _find_or_404(work, replay_id)
        return Response(view, status_code=202, headers={"location": f"/v1/replays/{replay_id}"})

    @get("/v1/replays", summary="The newest replays", responses=problem_responses(400))
    async def replays() -> ReplayPage:
        async with context.begin() as work:
            return ReplayPage(replays=tuple(await work.list_replays(MAX_LISTED)))

    @get("/v1/replays/{replay_id:str}", summary="How far a replay is", responses=problem_responses(400, 404))
    async def progress(replay_id: ReplayId) -> ReplayView:
        async with context.begin() as work:
            return await _find_or_404(work, replay_id)

    @delete(
        "/v1/replays/{replay_id:str}",
        status_code=200,
        summary="Send nothing more; what is in flight is waited for",
        responses=problem_responses(400, 404, 409),
    )
    async def cancel(replay_id: ReplayId) -> ReplayView:
        async with context.begin() as work:
            found = await _find_or_404(work, replay_id)
            if not await work.cancel_replay(replay_id):
                raise Problem(409, "ended", f"this replay has ended: {found.state}; nothing is left to cancel")
            return await _find_or_404(work, replay_id)

    return [begin, replays, progress, cancel]


def _new_replay(replay_id: str, snapshot: ReplaySnapshot, data: ReplayRequest) -> NewReplay:
    return NewReplay(
        id=replay_id,
        items=snapshot.items,
        beyond_retention=snapshot.beyond_retention,
        ineligible=msgspec.json.encode(snapshot.ineligible),
        rate_per_s=data.rate_per_s,
        keep_going=data.keep_going,
        force=data.force,
    )


def _dry_run_view(snapshot: ReplaySnapshot, data: ReplayRequest, policy: ReplayPolicy) -> ReplayView:
    count = len(snapshot.items)
    return ReplayView(
        id="",
        state=ReplayState.DRY_RUN,
        reason="nothing was sent",
        created_at=policy.now,
        ended_at=None,
        messages=count,
        counts={RedeliveryState.REQUESTED: count} if count else {},
        duplicates=0,
        beyond_retention=len(snapshot.beyond_retention),
        batches=tuple(batch_sizes(count, data.rate_per_s))[:MAX_LISTED],
        ineligible=snapshot.ineligible,
    )


def _nothing_eligible(ineligible: Sequence[IneligibleMessages]) -> str:
    reasons = "; ".join(f"{refusal.messages} message(s): {refusal.reason}" for refusal in ineligible)
    return reasons or "the selection fits no parked message; GET /v1/parked lists them"


async def _find_or_404(work: OperationsWork, replay_id: str) -> ReplayView:
    if found := await work.find_replay(replay_id):
        return found
    raise Problem(404, "no_such_replay", f"there is no replay {replay_id}; GET /v1/replays lists them")
