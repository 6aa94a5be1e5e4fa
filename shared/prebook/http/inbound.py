"""Internal HTTP endpoints of a service: synchronous calls, accepted operations, callbacks, inbox lookups."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from prebook.contracts.replays import InboxRecord
from prebook.coupling.async_api import Callback
from prebook.coupling.inbound import InboundGateway, require_kind
from prebook.flows import FLOWS
from prebook.http.problems import Problem, combined_headers
from prebook.messaging.clock import unix_s
from prebook.messaging.codec import SAFE_ID, WireMessage, decode, encode
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.errors import Malformed, ReplyTimeout
from prebook.messaging.policy import Policies
from prebook.patterns.signature import InvalidSignature, verify

RETRY_AFTER_HEADER = {"retry-after": "1"}


def inbound_routes(
    service: str, gateway: InboundGateway, policies: Policies, secrets: Sequence[str]
) -> list[BaseRouteHandler]:
    """Route handlers for the flows that this service provides, and for callbacks to the flows it calls."""

    @post("/flows/{flow:str}", status_code=200, include_in_schema=False)
    async def call(request: Request[Any, Any, Any], flow: FromPath[str]) -> Response[bytes]:
        envelope = await _read_request(request, service, flow)
        try:
            reply = await gateway.call(envelope, policies[flow].timeout_s)
        except ReplyTimeout as error:
            raise Problem(504, "reply_timeout", str(error), headers=RETRY_AFTER_HEADER) from None
        return _reply_response(reply)

    @post("/flows/{flow:str}/operations", status_code=202, include_in_schema=False)
    async def accept(request: Request[Any, Any, Any], flow: FromPath[str]) -> Response[bytes]:
        envelope = await _read_request(request, service, flow)
        await gateway.accept(envelope)
        location = {"location": f"/operations/{envelope.id}", "preference-applied": "respond-async"}
        return Response(b"", status_code=202, headers={**location, **RETRY_AFTER_HEADER})

    @get("/operations/{request_id:str}", include_in_schema=False)
    async def operation(request_id: FromPath[str]) -> Response[bytes]:
        if not SAFE_ID.match(request_id):
            raise Problem(404, "operation_not_found", "an operation's id is the id of the request that started it")
        reply = await gateway.find_reply(request_id)
        return _reply_response(reply) if reply else Response(b"", status_code=202, headers=RETRY_AFTER_HEADER)

    @post("/callbacks/{flow:str}", status_code=204, include_in_schema=False)
    async def callback(request: Request[Any, Any, Any], flow: FromPath[str]) -> None:
        body = await request.body()
        try:
            verify(secrets, request.headers, body, now_s=unix_s())
        except InvalidSignature as error:
            raise Problem(401, "invalid_signature", f"{error}; sign the body with the shared secret") from None
        await gateway.receive(_decode_reply(body, service, flow))

    @get("/inbox/{message_id:str}", include_in_schema=False)
    async def inbox(message_id: FromPath[str]) -> InboxRecord:
        if not (received_at := await gateway.find_received_at(message_id)):
            raise Problem(
                404, "message_not_found", "the inbox holds no message with this id; older ones may have been purged"
            )
        return InboxRecord(received_at=received_at)

    return [call, accept, operation, callback, inbox]


async def _read_request(request: Request[Any, Any, Any], service: str, flow: FromPath[str]) -> Envelope:
    if flow not in FLOWS or FLOWS[flow].provider != service:
        raise Problem(404, "flow_not_found", f"{service} provides no flow {flow!r}")
    try:
        return require_kind(
            MessageKind.REQUEST, flow, decode(WireMessage(combined_headers(request), await request.body()))
        )
    except Malformed as error:
        raise Problem(422, error.cause, str(error)) from None


def _decode_reply(body: bytes, service: str, flow: FromPath[str]) -> Envelope:
    if flow not in FLOWS or FLOWS[flow].caller != service:
        raise Problem(404, "flow_not_found", f"{service} calls no flow {flow!r}")
    try:
        callback = msgspec.json.decode(body, type=Callback)
        return require_kind(MessageKind.REPLY, flow, decode(WireMessage(callback.headers, callback.body.encode())))
    except msgspec.DecodeError as error:
        raise Problem(422, "wrong_schema", str(error)) from None
    except Malformed as error:
        raise Problem(422, error.cause, str(error)) from None


def _reply_response(reply: Envelope) -> Response[bytes]:
    wire = encode(reply)
    return Response(wire.body, headers=dict(wire.headers), media_type="application/json")
