"""Signed callbacks: HMAC-SHA256 over id, time and body, several secrets for rotation.

Source: Standard Webhooks specification, symmetric signatures (``v1``).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from secrets import token_bytes

SECRET_PREFIX = "whsec_"  # noqa: S105 - marks a secret, and is none
MIN_KEY_BYTES = 24
MAX_KEY_BYTES = 64
TOLERANCE_S = 300
"""Seconds that a signature's timestamp may differ from the receiver's clock."""


class InvalidSecret(ValueError):
    """A secret is malformed or too short; the text says what is expected, and does not show the secret."""


class InvalidSignature(Exception):
    """The message is unsigned, altered, too old or signed with another secret; the text says which."""


def generate_secret() -> str:
    """Return a new random secret."""
    return SECRET_PREFIX + base64.b64encode(token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the key bytes of a secret: the base64 after ``whsec_``, or else the text itself. Raises InvalidSecret."""
    if not secret.startswith(SECRET_PREFIX):
        key = secret.encode()
        if len(key) < MIN_KEY_BYTES:
            raise InvalidSecret(f"is neither {SECRET_PREFIX} and base64 nor text of at least {MIN_KEY_BYTES} bytes")
        return key
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise InvalidSecret(f"needs base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes after {SECRET_PREFIX}")
    return key


def sign(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the signature headers of a request.

    Every secret signs, so that a receiver that knows one of them accepts the request during a rotation.
    ``timestamp_s``: Unix time in seconds. Raises InvalidSecret.
    """
    timestamp = str(timestamp_s)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signatures(secrets, message_id, timestamp, body)),
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, *, now_s: float) -> str:
    """Return the id of an authentic message. Any of ``secrets`` may have signed it; ``now_s``: Unix time in seconds.

    Raises InvalidSignature, InvalidSecret.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len("9999999999")):
        raise InvalidSignature("unsigned: webhook-id and webhook-timestamp are needed")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise InvalidSignature(f"signed more than {TOLERANCE_S} s away from now")
    given = headers.get("webhook-signature", "").split(" ")
    expected = _signatures(secrets, message_id, timestamp, body)
    if not any(hmac.compare_digest(_to_bytes(g), _to_bytes(e)) for g in given for e in expected):
        raise InvalidSignature("the signature matches none of the active secrets")
    return message_id


def _signatures(secrets: Sequence[str], message_id: str, timestamp: str, body: bytes) -> list[str]:
    return [f"v1,{_digest(key_of(secret), message_id, timestamp, body)}" for secret in secrets]


def _digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((_to_bytes(message_id), timestamp.encode(), body))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _to_bytes(header: str) -> bytes:
    """Return the bytes of a header; those that are not UTF-8 arrive as lone surrogates (PEP 383)."""
    return header.encode(errors="surrogateescape")
