"""Parked messages on PostgreSQL."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import TextClause

from prebook.contracts.operations import (
    Changed,
    Filter,
    Group,
    Groups,
    Note,
    ParkedLine,
    ParkedState,
    ParkedView,
    Parking,
    Payload,
    Selection,
    Version,
)
from prebook.messaging.failures import spelled
from prebook.operations import statements
from prebook.operations.decisions.intake import Noted
from prebook.operations.decisions.sending import edited
from prebook.operations.store import Unstorable
from prebook.postgres.work import SqlWork

DISCARD = """
    UPDATE parked SET state = 'discarded', reason = :reason FROM chosen
    WHERE parked.id = chosen.id AND parked.state = 'parked' RETURNING parked.id"""
RESTORE = """
    UPDATE parked SET state = 'parked', reason = '' FROM chosen
    WHERE parked.id = chosen.id AND parked.state = 'discarded' RETURNING parked.id"""


class ParkedSql(SqlWork):
    """Implements store.ParkedWork."""

    async def take_in(self, noted: Noted) -> bool:
        try:
            return await self._taken_in(noted)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if _is_about_the_data(error):
                raise Unstorable(spelled(error)) from error
            raise

    async def _taken_in(self, noted: Noted) -> bool:
        row = {**asdict(noted), "headers": _json(noted.headers)}
        replayed = await self._scalar(statements.REPLAYED, **row) if noted.replay_id and noted.parked_id else None
        row["id"] = replayed or await self._scalar(statements.FIND, **row)
        if not await self._scalar(statements.HAPPENED, **row):
            return False
        if replayed:
            await self._run(statements.FAILED_AGAIN, **row)
        await self._run(statements.PARKED, **row, of_replay=bool(replayed))
        return True

    async def lines(
        self, states: Sequence[ParkedState], where: Filter, before: int, limit: int
    ) -> Sequence[ParkedLine]:
        asked = {"states": [state.value for state in states], "before": before, "limit": limit}
        return [_line(row) for row in await self._all(statements.lines(where), **asked, **statements.given(where))]

    async def groups(self, state: ParkedState) -> Groups:
        found = tuple(Group(**row) for row in await self._all(statements.GROUPS, state=state.value))
        return Groups(groups=found, messages=sum(group.messages for group in found))

    async def view(self, parked_id: int) -> ParkedView | None:
        found = await self._all(statements.LINE, id=parked_id)
        if not found:
            return None
        row = dict(found[0])
        headers, payload = _dict(row.pop("headers")), row.pop("payload")
        return ParkedView(
            line=_line(row),
            headers=headers,
            payload=shown(payload),
            payload_cut=len(payload) < row["payload_bytes"],
            versions=tuple(_version(v) for v in await self._all(statements.VERSIONS, id=parked_id)),
            parkings=tuple(Parking(**p) for p in await self._all(statements.PARKINGS, id=parked_id)),
            notes=tuple(Note(**n) for n in await self._all(statements.NOTES, id=parked_id)),
            replays=tuple(r["replay_id"] for r in await self._all(statements.REPLAYS, id=parked_id)),
        )

    async def note(self, parked_id: int, text: str) -> bool:
        return bool(await self._scalar(statements.NOTE, id=parked_id, text=text))

    async def edit(self, parked_id: int, headers: Mapping[str, str | None], payload: bytes | None, reason: str) -> int:
        found = await self._all(statements.CURRENT, id=parked_id)
        if not found:
            return 0
        now, number = found[0], found[0]["version"] + 1
        new = {
            "headers": _json(edited(_dict(now["headers"]), headers)),
            "payload": now["payload"] if payload is None else payload,
        }
        await self._run(statements.EDIT, id=parked_id, number=number, reason=reason, **new)
        return int(number)

    async def discard(self, selection: Selection, reason: str) -> Changed:
        return await self._changed(selection, ParkedState.PARKED, DISCARD, reason=reason)

    async def restore(self, selection: Selection) -> Changed:
        return await self._changed(selection, ParkedState.DISCARDED, RESTORE)

    async def _changed(self, selection: Selection, state: ParkedState, change: str, **values: Any) -> Changed:
        where = selection.where
        chosen = {"state": state.value, **statements.given(where)} if where else {"ids": list(selection.ids or ())}
        rows = await self._all(statements.changed(where, change), **chosen, **values)
        return Changed(ids=tuple(sorted(row["id"] for row in rows)))

    async def _all(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        """Mappings by column."""
        return await self.connection.execute(statement, values)


def _is_about_the_data(error: Exception) -> bool:
    """SQLSTATE classes 22, data exception, and 54, limit exceeded; or the client could not write a value at all."""
    return str(getattr(error, "sqlstate", None) or "")[:2] in {"22", "54"} or isinstance(error, ValueError)


def shown(payload: bytes) -> Payload:
    try:
        return Payload(text=payload.decode())
    except UnicodeDecodeError:
        return Payload(base64=base64.b64encode(payload).decode())


def _line(row: Mapping[Any, Any]) -> ParkedLine:
    return ParkedLine(**{**row, "state": ParkedState(row["state"])})


def _version(row: Mapping[Any, Any]) -> Version:
    return Version(**{**row, "headers": _dict(row["headers"]), "payload": shown(row["payload"])})


def _json(headers: Mapping[str, str]) -> str:
    return msgspec.json.encode(headers).decode()


def _dict(column: Any) -> dict[str, str]:
    """A jsonb column comes as text or decoded, by how the statement was built."""
    return msgspec.json.decode(column, type=dict[str, str]) if isinstance(column, str) else dict(column)
