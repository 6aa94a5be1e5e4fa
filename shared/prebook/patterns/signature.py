"""Signed callbacks: HMAC-SHA256 over id, time and body, several secrets for rotation.

Source: Standard Webhooks specification, symmetric signatures (``v1``).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

TOLERANCE_S = 300
"""How far the sender's clock and the way may be off, seconds."""


class InvalidSignature(Exception):
    """No valid signature: unsigned, altered, too old, or by another secret. The text says which."""


def sign(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Headers for a request with this body. The first secret signs."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{_digest(secrets[0], message_id, timestamp_s, body)}",
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, *, now_s: float) -> str:
    """The id of an authentic message. Raises Forged."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= len("9999999999")):
        raise InvalidSignature("unsigned: webhook-id and webhook-timestamp are needed")
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        raise InvalidSignature(f"signed more than {TOLERANCE_S} s away from now")
    given = [part.removeprefix("v1,") for part in headers.get("webhook-signature", "").split(" ")]
    expected = [_digest(secret, message_id, int(stamp), body) for secret in secrets]
    if not any(hmac.compare_digest(g.encode(), e.encode()) for g in given for e in expected):
        raise InvalidSignature("the signature fits none of the active secrets")
    return message_id


def _digest(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
