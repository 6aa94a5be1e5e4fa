"""Signatures of calls between services: HMAC-SHA256, with a key for each pair of caller and receiver.

The key of a pair is derived from the caller's secret and the receiver's name: whoever can verify a caller's calls to
itself cannot call another service in the caller's name. A signature covers method, target, body, and the headers that
name the caller, the time and the message.

Source: Standard Webhooks specification, symmetric signatures; RFC 9421, HTTP Message Signatures, for what is covered.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from prebook.patterns.signature import SECRET_PREFIX, TOLERANCE_S, key_of

CALLER_HEADER = "prebook-caller"
SIGNED_AT_HEADER = "prebook-signed-at"
"""Unix time of the signature, in seconds."""
SIGNATURE_HEADER = "prebook-signature"
"""One signature per active secret, separated by spaces."""
COVERED_PREFIXES = (b"ce-", b"prebook-")
"""Prefixes of the covered headers: those of the message, the caller and the time. The signature itself is not one."""
VERSION = "v1,"
MAX_TIMESTAMP_DIGITS = len("9999999999")
_SIGNATURE_NAME = SIGNATURE_HEADER.encode()
_CALLER_NAME = CALLER_HEADER.encode()
_SIGNED_AT_NAME = SIGNED_AT_HEADER.encode()

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Names, in lower case, and values of headers."""
CallerKeys = Mapping[str, Sequence[bytes]]
"""Active keys of each caller that a receiver knows."""


class CallRefusal(StrEnum):
    """Reason for which a receiver refuses a call."""

    UNSIGNED = "unsigned"
    UNKNOWN_CALLER = "unknown_caller"
    STALE = "stale"
    WRONG_SIGNATURE = "wrong_signature"
    NOT_ALLOWED = "not_allowed"


class UnauthenticCall(Exception):
    """The call is unsigned, altered, too old, or signed by nobody that the receiver knows; ``reason`` says which."""

    def __init__(self, reason: CallRefusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def derive_secret(secret: str, receiver: str) -> str:
    """Return the secret by which ``receiver`` verifies the calls of the owner of ``secret``. Raises InvalidSecret."""
    key = hmac.digest(key_of(secret), f"prebook calls to {receiver}".encode(), hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(key).decode()


class CallSigner:
    """Signs the calls of one caller."""

    def __init__(self, caller: str, secrets: Sequence[str]) -> None:
        """``secrets``: every active secret of the caller; each of them signs, so that a rotation refuses no call."""
        self._caller = caller
        self._secrets = secrets
        self._keys: dict[str, list[bytes]] = {}

    def sign(
        self, receiver: str, method: str, target: str, headers: Mapping[str, str], body: bytes, *, now_s: float
    ) -> dict[str, str]:
        """Return the headers to add to a call.

        ``target``: path and query as they are sent; ``headers``: those of the call, with names in lower case;
        ``now_s``: Unix time in seconds. Raises InvalidSecret.
        """
        if receiver not in self._keys:
            self._keys[receiver] = [key_of(derive_secret(secret, receiver)) for secret in self._secrets]
        added = {CALLER_HEADER: self._caller, SIGNED_AT_HEADER: str(int(now_s))}
        raw = [(name.encode(), value.encode()) for name, value in {**headers, **added}.items()]
        text = _signed_text(method, target, raw, body)
        added[SIGNATURE_HEADER] = " ".join(_signature(key, text) for key in self._keys[receiver])
        return added


@dataclass(frozen=True, slots=True)
class CallClaim:
    """The caller that a call names in its headers, and its signatures; the body is still to be read."""

    caller: str
    keys: Sequence[bytes]
    signatures: Sequence[str]
    headers: RawHeaders

    def verify(self, method: str, target: str, body: bytes) -> str:
        """Return the name of the caller. ``target``: path and query as received. Raises UnauthenticCall."""
        text = _signed_text(method, target, self.headers, body)
        expected = [_signature(key, text).encode() for key in self.keys]
        if not any(hmac.compare_digest(given.encode(), e) for given in self.signatures for e in expected):
            raise UnauthenticCall(CallRefusal.WRONG_SIGNATURE, f"the signature matches no secret of {self.caller}")
        return self.caller


def read_claim(keys: CallerKeys, headers: Sequence[tuple[bytes, bytes]], *, now_s: float) -> CallClaim:
    """Return the claim of a call that is signed now by a known caller. ``now_s``: Unix time in seconds.

    Raises UnauthenticCall, before the body is read.
    """
    values = dict(headers)
    caller = values.get(_CALLER_NAME, b"").decode("latin-1")
    signed_at = values.get(_SIGNED_AT_NAME, b"")
    signatures = values.get(_SIGNATURE_NAME, b"").decode("latin-1").split()
    if not caller or not signatures or not (signed_at.isdigit() and len(signed_at) <= MAX_TIMESTAMP_DIGITS):
        expected = f"{CALLER_HEADER}, {SIGNED_AT_HEADER} and {SIGNATURE_HEADER}"
        raise UnauthenticCall(CallRefusal.UNSIGNED, f"unsigned: {expected} are needed")
    if caller not in keys:
        raise UnauthenticCall(CallRefusal.UNKNOWN_CALLER, "the caller is not known here")
    if abs(now_s - int(signed_at)) > TOLERANCE_S:
        raise UnauthenticCall(CallRefusal.STALE, f"signed more than {TOLERANCE_S} s away from now")
    return CallClaim(caller, keys[caller], signatures, headers)


def _signed_text(method: str, target: str, headers: RawHeaders, body: bytes) -> bytes:
    covered = sorted(
        name + b":" + value.strip()
        for name, value in headers
        if name.startswith(COVERED_PREFIXES) and name != _SIGNATURE_NAME
    )
    return b"\n".join((method.encode(), target.encode("latin-1"), *covered, b"", body))


def _signature(key: bytes, text: bytes) -> str:
    return VERSION + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
