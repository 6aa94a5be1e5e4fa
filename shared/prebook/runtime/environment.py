"""PREBOOK_* environment variables into a typed value; every wrong one is named at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class BadSettings(Exception):
    """One line for each variable: its name, what is wrong, what is expected."""


def read(settings: type[T], environment: Mapping[str, str]) -> T:
    """A field ``http_port`` comes from PREBOOK_HTTP_PORT, or from the file that PREBOOK_HTTP_PORT_FILE names.

    Raises BadSettings.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(settings):
        name = f"PREBOOK_{field.name.upper()}"
        try:
            text = _given(name, environment)
            if text is not None:
                values[field.name] = msgspec.convert(_split(text, field.type), field.type, strict=False)
            elif field.required:
                problems.append(f"{name} is missing: {_meaning(field.type)}")
        except (msgspec.ValidationError, OSError) as error:
            problems.append(f"{name}: {error}; {_meaning(field.type)}")
    if problems:
        raise BadSettings("\n".join(problems))
    return settings(**values)


def _given(name: str, environment: Mapping[str, str]) -> str | None:
    """A variable that is empty is as good as none: that is how some pass on what is not set."""
    file = environment.get(f"{name}_FILE")
    return Path(file).read_text().strip() if file else environment.get(name) or None


def _split(text: str, wanted: Any) -> Any:
    """Lists are comma-separated."""
    kind = msgspec.inspect.type_info(wanted)
    kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    many = (msgspec.inspect.FrozenSetType, msgspec.inspect.VarTupleType)
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(kind, many) else text


def _meaning(wanted: Any) -> str:
    info = msgspec.inspect.type_info(wanted)
    extra = getattr(info, "extra_json_schema", None) or {}
    return str(extra.get("description", "see README, Settings"))
