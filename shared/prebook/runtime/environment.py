"""Read PREBOOK_* environment variables into a typed value and report all wrong ones at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from prebook.text_file import read_secret

T = TypeVar("T", bound=msgspec.Struct)
EXIT_BAD_SETTINGS = 2
"""Exit status of a process whose settings are wrong: the supervisor does not start it again."""


class BadSettings(Exception):
    """One line for each variable: its name, what is wrong, what is expected."""


def read(settings_type: type[T], environment: Mapping[str, str]) -> T:
    """Read a field ``http_port`` from PREBOOK_HTTP_PORT, or from the file that PREBOOK_HTTP_PORT_FILE names.

    Raises BadSettings.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(settings_type):
        name = f"PREBOOK_{field.name.upper()}"
        try:
            text = _read_variable(name, environment)
            if text is not None:
                _require_url(field.name, text)
                values[field.name] = msgspec.convert(_split_list(text, field.type), field.type, strict=False)
            elif field.required:
                problems.append(f"{name} is missing: {_expected_value(field.type)}")
        except (msgspec.ValidationError, OSError) as error:
            problems.append(f"{name}: {error}; {_expected_value(field.type)}")
    if problems:
        raise BadSettings("\n".join(problems))
    return settings_type(**values)


def _read_variable(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the value, or None if the variable is unset or empty: Compose passes unset variables on as empty."""
    file = environment.get(f"{name}_FILE")
    return read_secret(Path(file)) if file else environment.get(name) or None


def _require_url(field_name: str, text: str) -> None:
    """Raise ValidationError if the field is a URL, or several, whose host and port cannot be read.

    The parser's own error is not passed on, since it may quote a password.
    """
    for url in text.split(",") if "url" in field_name.split("_") else ():
        try:
            urlsplit(url).port  # noqa: B018 - parsed when it is read
        except ValueError:
            raise msgspec.ValidationError("host and port cannot be read; percent-encode special characters") from None


def _split_list(text: str, field_type: Any) -> Any:
    """Split comma-separated text if the field is a list; return it unchanged otherwise."""
    kind = msgspec.inspect.type_info(field_type)
    kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    many = (msgspec.inspect.FrozenSetType, msgspec.inspect.VarTupleType)
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(kind, many) else text


def _expected_value(field_type: Any) -> str:
    """Return the field's description and, if it has one, an example of its format."""
    info = msgspec.inspect.type_info(field_type)
    extra = getattr(info, "extra_json_schema", None) or {}
    description = str(extra.get("description", "see docs/reference/settings.md"))
    return ", such as ".join([description, *map(str, extra.get("examples", ())[:1])])
