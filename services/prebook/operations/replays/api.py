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

from prebook.contracts.replays import ItemState, Refusal, ReplayPage, ReplayRequest, ReplayState, ReplayView
from prebook.http.bodies import Strict
from prebook.http.problems import Problem
from prebook.messaging.clock import utc_now
from prebook.operations.dead_letters.api import chosen, problems
from prebook.operations.replays.eligibility import Candidate, Terms, objection, ordered
from prebook.operations.replays.throttle import batches_of
from prebook.operations.store import NewReplay, OperationsWork
from prebook.runtime.service import Running

TOLD = 100
ReplayId = Annotated[str, PathParameter(pattern="^[0-9a-f]{12}$")]
LOCATION = ResponseHeader(name="Location", description="where its progress is", documentation_only=True, required=False)


@dataclass(frozen=True)
class Snapshot:
    """What a replay takes of a selection, in order, and what it does not."""

    items: Sequence[Candidate]
    aged: frozenset[int]
    refused: tuple[Refusal, ...]


def snapshot(candidates: Sequence[Candidate], terms: Terms) -> Snapshot:
    objections: dict[str, list[int]] = defaultdict(list)
    for candidate in candidates:
        objections[objection(candidate, terms)].append(candidate.id)
    taken = frozenset(objections.pop("", ()))
    refused = (Refusal(reason=why, messages=len(ids), ids=tuple(ids[:TOLD])) for why, ids in objections.items())
    items = ordered([candidate for candidate in candidates if candidate.id in taken])
    return Snapshot(items, frozenset(c.id for c in items if terms.aged(c)), tuple(refused))


def routes(
    running: Running[OperationsWork], *, queues: Collection[str], remembered_s: float
) -> Sequence[ControllerRouterHandler]:
    @post(
        "/v1/replays",
        status_code=202,
        dto=Strict[ReplayRequest],
        return_dto=None,
        summary="Send parked messages again: a fixed set of them, or with dry_run only say what would be sent",
        response_headers=[LOCATION],
        responses={
            200: ResponseSpec(ReplayView, description="a dry run", generate_examples=False),
            **problems(400, 409, 413, 422),
        },
    )
    async def begin(data: Annotated[ReplayRequest, Body()]) -> Response[ReplayView]:
        selection, now = chosen(data.selection), utc_now()
        terms = Terms(now=now, remembered_s=remembered_s, queues=queues, force=data.force)
        async with running.begin() as work:
            taken = snapshot(await work.candidates(selection), terms)
            if data.dry_run:
                return Response(_planned(taken, data, terms), status_code=200)
            if not taken.items:
                raise Problem(409, "nothing_to_replay", _why_nothing(taken.refused))
            replay_id = uuid4().hex[:12]
            await work.begin_replay(_new(replay_id, taken, data))
            view = await _known(work, replay_id)
        return Response(view, status_code=202, headers={"location": f"/v1/replays/{replay_id}"})

    @get("/v1/replays", summary="The newest replays", responses=problems(400))
    async def replays() -> ReplayPage:
        async with running.begin() as work:
            return ReplayPage(replays=tuple(await work.replays(TOLD)))

    @get("/v1/replays/{replay_id:str}", summary="How far a replay is", responses=problems(400, 404))
    async def progress(replay_id: ReplayId) -> ReplayView:
        async with running.begin() as work:
            return await _known(work, replay_id)

    @delete(
        "/v1/replays/{replay_id:str}",
        status_code=200,
        summary="Send nothing more; what is in flight is waited for",
        responses=problems(400, 404, 409),
    )
    async def cancel(replay_id: ReplayId) -> ReplayView:
        async with running.begin() as work:
            found = await _known(work, replay_id)
            if not await work.cancel(replay_id):
                raise Problem(409, "ended", f"this replay has ended: {found.state}; nothing is left to cancel")
            return await _known(work, replay_id)

    return [begin, replays, progress, cancel]


def _new(replay_id: str, taken: Snapshot, data: ReplayRequest) -> NewReplay:
    return NewReplay(
        id=replay_id,
        items=taken.items,
        aged=taken.aged,
        refused=msgspec.json.encode(taken.refused),
        rate_per_s=data.rate_per_s,
        keep_going=data.keep_going,
        force=data.force,
    )


def _planned(taken: Snapshot, data: ReplayRequest, terms: Terms) -> ReplayView:
    count = len(taken.items)
    return ReplayView(
        id="",
        state=ReplayState.DRY_RUN,
        reason="nothing was sent",
        created_at=terms.now,
        ended_at=None,
        messages=count,
        counts={ItemState.REQUESTED: count} if count else {},
        duplicates=0,
        beyond_retention=len(taken.aged),
        batches=tuple(batches_of(count, data.rate_per_s))[:TOLD],
        refused=taken.refused,
    )


def _why_nothing(refused: Sequence[Refusal]) -> str:
    reasons = "; ".join(f"{refusal.messages} message(s): {refusal.reason}" for refusal in refused)
    return reasons or "the selection fits no parked message; GET /v1/parked lists them"


async def _known(work: OperationsWork, replay_id: str) -> ReplayView:
    if found := await work.replay(replay_id):
        return found
    raise Problem(404, "no_such_replay", f"there is no replay {replay_id}; GET /v1/replays lists them")
