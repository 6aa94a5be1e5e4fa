"""Signed callbacks: HMAC-SHA256 over id, time and body, several secrets for rotation.

Source: Standard Webhooks specification, symmetric signatures (``v1``).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

TOLERANCE_S = 300
"""Seconds that a signature's timestamp may differ from the receiver's clock."""


class InvalidSignature(Exception):
    """The message is unsigned, altered, too old or signed with another secret; the text says which."""


def sign(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the signature headers of a request. The first secret signs; ``timestamp_s``: Unix time in seconds."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{_digest(secrets[0], message_id, timestamp_s, body)}",
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, *, now_s: float) -> str:
    """Return the id of an authentic message. Any of ``secrets`` may have signed it; ``now_s``: Unix time in seconds.

    Raises InvalidSignature.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len("9999999999")):
        raise InvalidSignature("unsigned: webhook-id and webhook-timestamp are needed")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise InvalidSignature(f"signed more than {TOLERANCE_S} s away from now")
    given = [part.removeprefix("v1,") for part in headers.get("webhook-signature", "").split(" ")]
    expected = [_digest(secret, message_id, int(timestamp), body) for secret in secrets]
    if not any(hmac.compare_digest(g.encode(), e.encode()) for g in given for e in expected):
        raise InvalidSignature("the signature matches none of the active secrets")
    return message_id


def _digest(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
