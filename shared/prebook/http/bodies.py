"""Strict request bodies: no coercion, no unknown fields, and errors with a JSON pointer to the field."""

from typing import Any, TypeVar

import msgspec
from litestar.dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from prebook.http.problems import Problem, decode_problem
from prebook.http.strict_json import decode_strictly, shape_of_struct, structs_in
from prebook.messaging.body_codec import MSGPACK, format_of
from prebook.messaging.envelope import JSON
from prebook.messaging.errors import Malformed

T = TypeVar("T", bound=msgspec.Struct)


class StrictBody(MsgspecDTO[T]):
    """Decoder of request bodies, used as ``dto=StrictBody[Struct]``. Litestar's own would accept "4" for 4."""

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a JSON body. Raises Problem: 400 for malformed JSON, 422 for JSON of the wrong shape."""
        try:
            return decode_strictly(value, self.model_type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise decode_problem(error) from None

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003 - Litestar's signature
        schema_creator: Any,
    ) -> Reference | Schema:
        """Return the schema of the struct, with ``additionalProperties: false`` because unknown fields are refused."""
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        for struct in structs_in(shape_of_struct(cls.model_type)):
            field = FieldDefinition.from_annotation(struct)
            schema_creator.schema_registry.get_schema_for_field_definition(field).additional_properties = False
        return schema


METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def require_json_body(method: str, content_type: str) -> None:
    """Raise Problem (415) if the method has a body and ``Content-Type`` is not JSON."""
    if method in METHODS_WITH_BODY:
        require_json(content_type)


def require_json(content_type: str) -> None:
    """Raise Problem (415) unless ``Content-Type`` is JSON."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported_media_type", "send the body as application/json")


def require_message_body(method: str, content_type: str) -> None:
    """Raise Problem (415) if the method has a body and ``Content-Type`` is none of a message."""
    if method not in METHODS_WITH_BODY:
        return
    try:
        format_of(content_type)
    except Malformed:
        raise Problem(415, "unsupported_media_type", f"send the body as {JSON} or {MSGPACK}") from None
