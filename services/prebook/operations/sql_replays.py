"""Replays on PostgreSQL: rows, a lease, and guarded changes of state."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import TextClause

from prebook.contracts.operations import ParkedState, Selection
from prebook.contracts.replays import ItemState, Refusal, ReplayState, ReplayView
from prebook.operations import replay_statements as statements
from prebook.operations.decisions.replay import Candidate, lane
from prebook.operations.statements import given
from prebook.operations.store import Claimed, Flight, Landing, NewReplay
from prebook.postgres.work import SqlWork


class ReplaySql(SqlWork):
    """Implements store.ReplayWork."""

    async def candidates(self, selection: Selection) -> Sequence[Candidate]:
        where = selection.where
        chosen = given(where) if where else {"ids": list(selection.ids or ())}
        rows = await self._rows(statements.candidates(where), **chosen)
        return [Candidate(**{**row, "state": ParkedState(row["state"])}) for row in rows]

    async def begin_replay(self, new: NewReplay) -> None:
        terms = {"rate_per_s": new.rate_per_s, "keep_going": new.keep_going, "force": new.force}
        await self._run(statements.BEGIN, id=new.id, refused=new.refused.decode(), **terms)
        await self._run(
            statements.ITEMS,
            id=new.id,
            parked_ids=[c.id for c in new.items],
            lanes=[lane(c) for c in new.items],
            queues=[c.queue for c in new.items],
            message_ids=[c.message_id for c in new.items],
            versions=[c.version for c in new.items],
            aged=[c.id in new.aged for c in new.items],
        )

    async def replay(self, replay_id: str) -> ReplayView | None:
        found = await self._rows(statements.REPLAY, id=replay_id)
        return _view(found[0]) if found else None

    async def replays(self, limit: int) -> Sequence[ReplayView]:
        return [_view(row) for row in await self._rows(statements.REPLAYS, limit=limit)]

    async def cancel(self, replay_id: str) -> bool:
        if not await self._scalar(statements.OPEN, id=replay_id):
            return False
        await self.stop(replay_id, ReplayState.CANCELLED, "cancelled")
        return True

    async def claim(self, holder: str, lease_s: float) -> Sequence[Claimed]:
        rows = await self._rows(statements.CLAIM, holder=holder, lease_s=lease_s)
        return [_claimed(row) for row in rows]

    async def take_off(self, replay_id: str, limit: int) -> int:
        taken = len(await self._rows(statements.TAKE_OFF, id=replay_id, limit=limit))
        if taken:
            await self._run(statements.BATCH, id=replay_id, size=taken)
        return taken

    async def in_flight(self, replay_id: str) -> Sequence[Flight]:
        rows = await self._rows(statements.IN_FLIGHT, id=replay_id)
        return [Flight(**{**row, "headers": _decoded(row["headers"], dict[str, str])}) for row in rows]

    async def sent(self, replay_id: str, parked_ids: Sequence[int]) -> None:
        await self._run(statements.SENT, id=replay_id, parked_ids=list(parked_ids))

    async def land(self, replay_id: str, landings: Sequence[Landing]) -> None:
        await self._run(
            statements.LAND,
            id=replay_id,
            parked_ids=[landing.parked_id for landing in landings],
            states=[landing.state.value for landing in landings],
            admitted=[landing.admitted_at for landing in landings],
            errors=[landing.error for landing in landings],
        )

    async def give_up_on(self, replay_id: str, older_than_s: float) -> int:
        return len(await self._rows(statements.GIVE_UP, id=replay_id, older_than_s=older_than_s))

    async def hold(self, replay_id: str) -> None:
        await self._run(statements.HOLD, id=replay_id)

    async def stop(self, replay_id: str, outcome: ReplayState, reason: str) -> None:
        await self._run(statements.STOP, id=replay_id, outcome=outcome.value, reason=reason)

    async def end(self, replay_id: str, state: ReplayState) -> None:
        await self._run(statements.END, id=replay_id, state=state.value)

    async def _rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        """Mappings by column."""
        return await self.connection.execute(statement, values)


def _view(row: Mapping[Any, Any]) -> ReplayView:
    counts: dict[str, int] = _decoded(row["counts"], dict[str, int])
    return ReplayView(
        **{
            **row,
            "state": ReplayState(row["state"]),
            "counts": {state: counts[state] for state in ItemState if state in counts},
            "messages": sum(counts.values()),
            "batches": tuple(row["batches"]),
            "refused": _decoded(row["refused"], tuple[Refusal, ...]),
        }
    )


def _claimed(row: Mapping[Any, Any]) -> Claimed:
    outcome = ReplayState(row["outcome"]) if row["outcome"] else None
    return Claimed(**{**row, "state": ReplayState(row["state"]), "outcome": outcome})


def _decoded(column: Any, kind: Any) -> Any:
    """A jsonb column comes as text or decoded, by how the statement was built."""
    return msgspec.json.decode(column, type=kind) if isinstance(column, str) else msgspec.convert(column, kind)
