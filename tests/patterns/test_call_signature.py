"""Signing and verifying calls between services."""

import pytest

from prebook.patterns.call_signature import (
    CALLER_HEADER,
    SIGNATURE_HEADER,
    SIGNED_AT_HEADER,
    CallRefusal,
    CallSigner,
    UnauthenticCall,
    derive_secret,
    read_claim,
)
from prebook.patterns.signature import TOLERANCE_S, key_of

NOW = 1_800_000_000
NEW = "the newest secret of booking"
OLD = "the previous secret of booking"
PRICING = "the only secret of pricing"
HEADERS = {"ce-id": "m1", "ce-subject": "b1", "prebook-flow": "notify_rider", "traceparent": "t"}
BODY = b'{"text":"hello"}'
TARGET = "/flows/notify_rider"


def keys(receiver: str, *secrets: str) -> list[bytes]:
    return [key_of(derive_secret(secret, receiver)) for secret in secrets]


KNOWN = {"booking": keys("notification", NEW), "pricing": keys("notification", PRICING)}


def signed(caller: str = "booking", *secrets: str, receiver: str = "notification") -> dict[str, str]:
    return {
        **HEADERS,
        **CallSigner(caller, secrets or (NEW,)).sign(receiver, "POST", TARGET, HEADERS, BODY, now_s=NOW),
    }


def verify(
    headers: dict[str, str],
    *,
    known: dict[str, list[bytes]] = KNOWN,
    method: str = "POST",
    target: str = TARGET,
    body: bytes = BODY,
    now_s: float = NOW,
) -> str:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return read_claim(known, raw, now_s=now_s).verify(method, target, body)


def test_a_signed_call_names_its_caller() -> None:
    assert verify(signed()) == "booking"


def test_every_active_secret_signs_and_verifies() -> None:
    for known in ((NEW,), (OLD,), (OLD, NEW)):
        assert verify(signed("booking", NEW, OLD), known={"booking": keys("notification", *known)}) == "booking"
        assert verify(signed("booking", known[-1]), known={"booking": keys("notification", NEW, OLD)}) == "booking"


def test_headers_that_do_not_belong_to_the_message_may_change_on_the_way() -> None:
    assert verify({**signed(), "traceparent": "another", "via": "1.1 proxy", "ce-id": " m1 "}) == "booking"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_method_is_covered(method: str) -> None:
    with pytest.raises(UnauthenticCall) as refused:
        verify(signed(), method=method)
    assert refused.value.reason is CallRefusal.WRONG_SIGNATURE


@pytest.mark.parametrize("target", ["/flows/quote_fare", f"{TARGET}/operations", f"{TARGET}?a=b"])
def test_path_and_query_are_covered(target: str) -> None:
    with pytest.raises(UnauthenticCall, match="matches no secret of booking"):
        verify(signed(), target=target)


@pytest.mark.parametrize(
    "change",
    [
        {"ce-id": "m2"},
        {"ce-subject": "b2"},
        {"prebook-flow": "quote_fare"},
        {"prebook-x-replay-id": "added"},
        {CALLER_HEADER: "pricing"},
        {SIGNED_AT_HEADER: str(NOW + 1)},
        {SIGNATURE_HEADER: "v1,AAAA"},
        {SIGNATURE_HEADER: signed()[SIGNATURE_HEADER].replace("v1,", "v2,")},
        {SIGNATURE_HEADER: "v1,\xff"},
    ],
)
def test_the_headers_of_the_message_and_of_the_signature_are_covered(change: dict[str, str]) -> None:
    with pytest.raises(UnauthenticCall) as refused:
        verify({**signed(), **change})
    assert refused.value.reason is CallRefusal.WRONG_SIGNATURE


def test_the_body_is_covered() -> None:
    with pytest.raises(UnauthenticCall, match="matches no secret"):
        verify(signed(), body=BODY + b" ")


@pytest.mark.parametrize("name", [CALLER_HEADER, SIGNED_AT_HEADER, SIGNATURE_HEADER])
@pytest.mark.parametrize("value", [None, "", " "])
def test_a_call_without_a_part_of_the_signature_is_unsigned(name: str, value: str | None) -> None:
    headers = {**signed(), name: value}
    with pytest.raises(UnauthenticCall) as refused:
        verify({k: v for k, v in headers.items() if v is not None})
    assert refused.value.reason in {CallRefusal.UNSIGNED, CallRefusal.UNKNOWN_CALLER}


@pytest.mark.parametrize("time", ["soon", "-1", "1e9", "²", "9" * 11])
def test_a_malformed_time_is_no_signature(time: str) -> None:
    with pytest.raises(UnauthenticCall) as refused:
        verify({**signed(), SIGNED_AT_HEADER: time})
    assert refused.value.reason is CallRefusal.UNSIGNED


@pytest.mark.parametrize("away_s", [TOLERANCE_S + 1, -TOLERANCE_S - 1])
def test_a_signature_is_valid_for_a_while_only(away_s: int) -> None:
    with pytest.raises(UnauthenticCall) as refused:
        verify(signed(), now_s=NOW + away_s)
    assert refused.value.reason is CallRefusal.STALE
    assert verify(signed(), now_s=NOW + away_s // abs(away_s) * TOLERANCE_S) == "booking"


def test_an_unknown_caller_is_refused() -> None:
    with pytest.raises(UnauthenticCall) as refused:
        verify(signed("fleets", "a secret of fleets, unknown here"))
    assert refused.value.reason is CallRefusal.UNKNOWN_CALLER


def test_a_caller_cannot_sign_as_another_one() -> None:
    with pytest.raises(UnauthenticCall, match="matches no secret of booking"):
        verify(signed("booking", PRICING))


def test_a_receiver_cannot_call_others_in_the_name_of_its_caller() -> None:
    held_by_pricing = derive_secret(NEW, "pricing")
    with pytest.raises(UnauthenticCall, match="matches no secret of booking"):
        verify(signed("booking", held_by_pricing))
    with pytest.raises(UnauthenticCall, match="matches no secret of booking"):
        verify(signed(receiver="pricing"))
