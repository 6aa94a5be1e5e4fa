"""HTTP client that gets the body behind a claim check from the sender's store."""

from http import HTTPStatus

import msgspec

from prebook.contracts.message import Message
from prebook.coupling.http_errors import error_from_response
from prebook.coupling.ports import HttpClient, HttpResponse
from prebook.http.claim_store import NO_CHECKED_BODY
from prebook.messaging.body_codec import decode_body
from prebook.messaging.claim_checks import CORRUPTED_CAUSE, MISSING_CAUSE, RedeemClaim, sender_of
from prebook.messaging.codec import CHECKED_BODIES_PATH
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import ClaimLost, ClaimStoreAway, Unreachable
from prebook.patterns.claim_check import ClaimCheck

READ_TIMEOUT_S = 5.0
"""Seconds for reading one body."""


class _ProblemCode(msgspec.Struct):
    code: str = ""


def claim_redeemer(http: HttpClient) -> RedeemClaim:
    """Return a RedeemClaim over ``GET /checked-bodies/{reference}``. ``http`` signs in the name of the receiver."""

    async def redeem(envelope: Envelope) -> Message:
        check = envelope.body
        if not isinstance(check, ClaimCheck):
            return check
        sender = sender_of(envelope.kind, envelope.flow)
        body = await _read(http, sender, check.reference)
        if problem := check.problem_of(body):
            raise ClaimLost(CORRUPTED_CAUSE, f"the body of {envelope.id} at {sender} is another one: {problem}")
        return decode_body(check.type, body, check.content_type)

    return redeem


async def _read(http: HttpClient, sender: str, reference: str) -> bytes:
    path = f"{CHECKED_BODIES_PATH}/{reference}"
    try:
        response = await http.request("GET", sender, path, headers={}, timeout_s=READ_TIMEOUT_S)
        if response.status == HTTPStatus.OK:
            return response.body
        if _is_missing(response):
            raise ClaimLost(MISSING_CAUSE, f"{sender} holds no body with the reference {reference}")
        raise error_from_response(sender, response)
    except Unreachable as error:
        raise ClaimStoreAway(f"claim store: {error}", reason=error.reason, retry_after_s=error.retry_after_s) from error


def _is_missing(response: HttpResponse) -> bool:
    """Return whether the store itself says so: an older sender has no such path, which is no loss."""
    if response.status != HTTPStatus.NOT_FOUND:
        return False
    try:
        return msgspec.json.decode(response.body, type=_ProblemCode).code == NO_CHECKED_BODY
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
