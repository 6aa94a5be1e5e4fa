"""States in SQL: each value is written once, in its enum."""

import re
from enum import StrEnum

_PLACEHOLDER = re.compile(r"\{([A-Z_]+)\}")


def with_states(sql: str, *enums: type[StrEnum]) -> str:
    """Return ``sql`` with each ``{NAME}`` replaced by the quoted value of the member NAME of one of the enums.

    A state is a literal and not a parameter, because the planner uses a partial index only where the statement contains
    the index's condition. Two enums may share a name if they give it the same value.

    Raises:
        ValueError: no enum has the name, or two enums give it different values.
    """

    def literal(match: re.Match[str]) -> str:
        values = {enum[match[1]].value for enum in enums if match[1] in enum.__members__}
        if len(values) != 1:
            raise ValueError(f"{match[1]} has {len(values)} values in {[enum.__name__ for enum in enums]}")
        return f"'{values.pop()}'"

    return _PLACEHOLDER.sub(literal, sql)
