"""An HTTP endpoint refuses a field that the type of a body does not have, although the type itself ignores it."""

from typing import Annotated

import msgspec
import pytest

from prebook.contracts.booking import BookingRequest
from prebook.contracts.trip_http import TripRequest
from prebook.http.strict_json import decode_strictly, shape_of_struct, structs_in


class Inner(msgspec.Struct):
    lat: Annotated[float, msgspec.Meta(ge=-90)] = 0.0


class Renamed(msgspec.Struct, rename="camel"):
    first_leg: Inner | None = None


class Outer(msgspec.Struct):
    pickup: Inner | None = None
    legs: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}
    points: tuple[tuple[float, float], ...] = ()
    renamed: Annotated[Renamed, msgspec.Meta(description="annotated")] | None = None
    free: dict[str, int] = {}


class RefusingOuter(Outer, forbid_unknown_fields=True):
    pass


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"x":1}', "unknown field `x`"),
        (b'{"pickup":{"lat":1,"x":1}}', "unknown field `x` - at `$.pickup`"),
        (b'{"legs":[{},{"x":1}]}', "unknown field `x` - at `$.legs[1]`"),
        (b'{"by_name":{"a":{"x":1}}}', "unknown field `x` - at `$.by_name[...]`"),
        (b'{"renamed":{"first_leg":{}}}', "unknown field `first_leg` - at `$.renamed`"),
        (b'{"renamed":{"firstLeg":{"x":1}}}', "unknown field `x` - at `$.renamed.firstLeg`"),
    ],
)
def test_an_unknown_field_is_named_with_its_path(body: bytes, problem: str) -> None:
    msgspec.json.decode(body, type=Outer)
    with pytest.raises(msgspec.ValidationError, match="Object contains") as raised:
        decode_strictly(body, Outer)

    assert str(raised.value) == f"Object contains {problem}"


def test_the_text_is_that_of_a_type_that_refuses_by_itself() -> None:
    with pytest.raises(msgspec.ValidationError) as own:
        decode_strictly(b'{"x":1}', Outer)
    with pytest.raises(msgspec.ValidationError) as refusing:
        msgspec.json.decode(b'{"x":1}', type=RefusingOuter)

    assert str(own.value) == str(refusing.value)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"pickup":null,"legs":[],"by_name":{},"points":[[1,2]],"free":{"anything":1}}',
        b'{"pickup":{"lat":1},"legs":[{}],"renamed":{"firstLeg":null}}',
    ],
)
def test_a_body_of_known_fields_is_decoded(body: bytes) -> None:
    assert decode_strictly(body, Outer) == msgspec.json.decode(body, type=Outer)


@pytest.mark.parametrize("body", [b"{", b"", b'{"x":"\xff"}', b'{"x":tru}'])
def test_malformed_json_is_no_error_of_a_field(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as raised:
        decode_strictly(body, Outer)

    assert not isinstance(raised.value, msgspec.ValidationError)


@pytest.mark.parametrize(
    "body", [b'{"x":' + b"[" * 50_000, b'{"pickup":' * 3_000 + b"1" + b"}" * 3_000, b'{"pickup":{"lat":"north"}}']
)
def test_a_body_of_the_wrong_shape_or_nested_too_deeply_is_invalid(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_strictly(body, Outer)


def test_all_structs_of_a_body_are_found() -> None:
    booking, trip = [
        {each.__name__ for each in structs_in(shape_of_struct(body))} for body in (BookingRequest, TripRequest)
    ]

    assert (booking, trip) == ({"BookingRequest", "Place"}, {"TripRequest", "RideRequest", "Place"})
