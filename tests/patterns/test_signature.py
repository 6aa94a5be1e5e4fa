"""Signing and verifying callbacks."""

import pytest

from prebook.patterns.signature import (
    MIN_KEY_BYTES,
    TOLERANCE_S,
    InvalidSecret,
    InvalidSignature,
    generate_secret,
    key_of,
    sign,
    verify,
)

NEW = "whsec_bmV3ZXN0IHNlY3JldCBvZiB0aGVzZSB0ZXN0cw=="
OLD = "previous secret, of plain text"
STOLEN = "a secret that is not active"
SECRETS = (NEW, OLD)
NOW = 1_800_000_000
BODY = b'{"fare":1}'


def _signature(*secrets: str) -> str:
    return sign(secrets, "m1", NOW, BODY)["webhook-signature"]


def test_the_test_vector_of_standard_webhooks() -> None:
    secrets = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert sign(secrets, headers["webhook-id"], 1614265330, body) == headers
    assert verify(secrets, headers, body, now_s=1614265330) == headers["webhook-id"]


def test_every_active_secret_signs() -> None:
    assert _signature(NEW, OLD) == f"{_signature(NEW)} {_signature(OLD)}"
    for known in (NEW, OLD):
        assert verify((known,), sign(SECRETS, "m1", NOW, BODY), BODY, now_s=NOW) == "m1"


def test_signatures_of_other_schemes_and_secrets_are_skipped() -> None:
    signatures = f"v1a,AAAA v1,AAAA {_signature(OLD)} v2,{_signature(NEW)}"
    headers = {**sign(SECRETS, "m1", NOW, BODY), "webhook-signature": signatures}
    assert verify(SECRETS, headers, BODY, now_s=NOW) == "m1"


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", bytes.fromhex("31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0")),
        ("whsec_" + "A" * 85 + "=", None),
        ("whsec_" + "A" * 86 + "==", bytes(64)),
        ("whsec_" + "A" * 88, None),
        ("whsec_" + "A" * 28, None),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", None),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZI_2LaLaSw", None),
        ("whsec_", None),
        ("x" * MIN_KEY_BYTES, b"x" * MIN_KEY_BYTES),
        ("x" * (MIN_KEY_BYTES - 1), None),
        ("", None),
    ],
)
def test_a_secret_is_base64_or_long_text(secret: str, key: bytes | None) -> None:
    if key is not None:
        assert key_of(secret) == key
        return
    with pytest.raises(InvalidSecret, match=r"(24 to 64|at least 24) bytes"):
        key_of(secret)


def test_generated_secrets_are_valid_and_differ() -> None:
    first, second = generate_secret(), generate_secret()
    assert first.startswith("whsec_")
    assert key_of(first) != key_of(second)


def test_a_signed_message_is_authentic() -> None:
    assert verify(SECRETS, sign(SECRETS, "m1", NOW, BODY), BODY, now_s=NOW) == "m1"


def test_an_older_secret_is_still_accepted() -> None:
    assert verify(SECRETS, sign((OLD,), "m1", NOW, BODY), BODY, now_s=NOW) == "m1"


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({"webhook-id": "m2"}, BODY, NOW),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, NOW),
        ({"webhook-signature": "v1,AAAA"}, BODY, NOW),
        ({"webhook-signature": ""}, BODY, NOW),
        ({"webhook-signature": _signature(NEW).removeprefix("v1,")}, BODY, NOW),
        ({"webhook-signature": _signature(NEW).replace("v1,", "v2,")}, BODY, NOW),
        ({"webhook-signature": _signature(NEW).replace(" ", "")[:-1]}, BODY, NOW),
        ({"webhook-timestamp": "soon"}, BODY, NOW),
        ({"webhook-timestamp": ""}, BODY, NOW),
        ({}, BODY + b" ", NOW),
        ({}, BODY, NOW + TOLERANCE_S + 1),
        ({}, BODY, NOW - TOLERANCE_S - 1),
    ],
)
def test_an_altered_or_expired_signature_is_invalid(change: dict[str, str], body: bytes, now: float) -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRETS, {**sign(SECRETS, "m1", NOW, BODY), **change}, body, now_s=now)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_not_utf_8_is_invalid(name: str) -> None:
    """aiohttp hands over such bytes as lone surrogates."""
    with pytest.raises(InvalidSignature):
        verify(SECRETS, {**sign(SECRETS, "m1", NOW, BODY), name: "\udcff"}, BODY, now_s=NOW)


def test_a_signature_with_another_secret_is_invalid() -> None:
    with pytest.raises(InvalidSignature, match="none of the active secrets"):
        verify(SECRETS, sign((STOLEN,), "m1", NOW, BODY), BODY, now_s=NOW)
