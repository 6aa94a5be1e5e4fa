"""Signing and verifying callbacks."""

import pytest

from prebook.patterns.signature import TOLERANCE_S, InvalidSignature, sign, verify

SECRETS = ("new", "old")
NOW = 1_800_000_000
BODY = b'{"fare":1}'


def test_a_signed_message_is_authentic() -> None:
    assert verify(SECRETS, sign(SECRETS, "m1", NOW, BODY), BODY, now_s=NOW) == "m1"


def test_an_older_secret_is_still_accepted() -> None:
    assert verify(SECRETS, sign(("old",), "m1", NOW, BODY), BODY, now_s=NOW) == "m1"


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({"webhook-id": "m2"}, BODY, NOW),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, NOW),
        ({"webhook-signature": "v1,AAAA"}, BODY, NOW),
        ({"webhook-signature": ""}, BODY, NOW),
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


def test_a_signature_with_another_secret_is_invalid() -> None:
    with pytest.raises(InvalidSignature, match="none of the active secrets"):
        verify(SECRETS, sign(("stolen",), "m1", NOW, BODY), BODY, now_s=NOW)
