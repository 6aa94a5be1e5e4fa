"""SQLAlchemy statements with states. Apart from state_literals, which commands import without SQLAlchemy."""

from collections.abc import Callable
from enum import StrEnum

from sqlalchemy import TextClause, text

from prebook.postgres.state_literals import with_states


def statement_factory(*enums: type[StrEnum]) -> Callable[[str], TextClause]:
    """Return a function that makes a statement of SQL in which ``{NAME}`` is a state of ``enums``."""

    def statement(sql: str) -> TextClause:
        return text(with_states(sql, *enums))

    return statement
