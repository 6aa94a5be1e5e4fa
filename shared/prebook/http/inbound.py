"""Internal HTTP endpoints of a service: synchronous calls, accepted operations, callbacks, inbox lookups."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from prebook.contracts.replays import InboxRecord
from prebook.coupling.inbound import InboundGateway, require_kind
from prebook.flows import CONSOLE, FLOWS, OPERATIONS
from prebook.http.call_guard import ACCEPT_ANY_FORMAT, allow_callers
from prebook.http.problems import Problem, combined_headers
from prebook.messaging.codec import SAFE_ID, WireMessage, decode, encode
from prebook.messaging.envelope import JSON, Envelope, MessageKind
from prebook.messaging.errors import CallExpired, Malformed, ReplyTimeout, RequestFailed
from prebook.messaging.headers import CONTENT_TYPE_HEADER
from prebook.messaging.message_document import MessageDocument
from prebook.messaging.policy import Policies

RETRY_AFTER_HEADER = {"retry-after": "1"}


def inbound_routes(service: str, gateway: InboundGateway, policies: Policies) -> list[BaseRouteHandler]:
    """Route handlers for the flows that this service provides, and for callbacks to the flows it calls.

    They declare who may call them, for ``call_guard.guarded_routes``.
    """
    to_provider = allow_callers(partial(_caller_of_flow, service)) | ACCEPT_ANY_FORMAT

    @post("/flows/{flow:str}", status_code=200, include_in_schema=False, opt=to_provider)
    async def call(request: Request[Any, Any, Any], flow: FromPath[str]) -> Response[bytes]:
        envelope = await _read_request(request, flow)
        try:
            reply = await gateway.call(envelope, policies[flow].timeout_s)
        except (ReplyTimeout, CallExpired, RequestFailed) as error:
            raise _problem_of(error) from None
        return _reply_response(reply)

    @post("/flows/{flow:str}/operations", status_code=202, include_in_schema=False, opt=to_provider)
    async def accept(request: Request[Any, Any, Any], flow: FromPath[str]) -> Response[bytes]:
        envelope = await _read_request(request, flow)
        await gateway.accept(envelope)
        location = {"location": f"/operations/{envelope.id}", "preference-applied": "respond-async"}
        return Response(b"", status_code=202, headers={**location, **RETRY_AFTER_HEADER})

    @get(
        "/operations/{request_id:str}", include_in_schema=False, opt=allow_callers(partial(_callers_of_flows, service))
    )
    async def operation(request_id: FromPath[str]) -> Response[bytes]:
        if not SAFE_ID.match(request_id):
            raise Problem(404, "operation_not_found", "an operation's id is the id of the request that started it")
        reply = await gateway.find_reply(request_id)
        return _reply_response(reply) if reply else Response(b"", status_code=202, headers=RETRY_AFTER_HEADER)

    @post(
        "/callbacks/{flow:str}",
        status_code=204,
        include_in_schema=False,
        opt=allow_callers(partial(_provider_of_flow, service)),
    )
    async def callback(request: Request[Any, Any, Any], flow: FromPath[str]) -> None:
        await gateway.receive_callback(_decode_reply(await request.body(), flow))

    @get("/inbox/{message_id:str}", include_in_schema=False, opt=allow_callers(_inbox_readers))
    async def inbox(message_id: FromPath[str]) -> InboxRecord:
        if not (received_at := await gateway.find_received_at(message_id)):
            raise Problem(
                404, "message_not_found", "the inbox holds no message with this id; older ones may have been purged"
            )
        return InboxRecord(received_at=received_at)

    return [call, accept, operation, callback, inbox]


def _caller_of_flow(service: str, path: Mapping[str, Any]) -> Collection[str]:
    flow = FLOWS.get(path["flow"])
    if flow is None or flow.provider != service:
        raise Problem(404, "flow_not_found", f"{service} provides no flow {path['flow']!r}")
    return (flow.caller,)


def _provider_of_flow(service: str, path: Mapping[str, Any]) -> Collection[str]:
    flow = FLOWS.get(path["flow"])
    if flow is None or flow.caller != service:
        raise Problem(404, "flow_not_found", f"{service} calls no flow {path['flow']!r}")
    return (flow.provider,)


def _callers_of_flows(service: str, _: Mapping[str, Any]) -> Collection[str]:
    return {flow.caller for flow in FLOWS.values() if flow.provider == service}


def _inbox_readers(_: Mapping[str, Any]) -> Collection[str]:
    return (OPERATIONS, CONSOLE)


async def _read_request(request: Request[Any, Any, Any], flow: str) -> Envelope:
    try:
        return require_kind(
            MessageKind.REQUEST, flow, decode(WireMessage(combined_headers(request), await request.body()))
        )
    except Malformed as error:
        raise Problem(422, error.cause, str(error)) from None


def _decode_reply(body: bytes, flow: str) -> Envelope:
    try:
        return require_kind(
            MessageKind.REPLY, flow, decode(msgspec.json.decode(body, type=MessageDocument).to_message())
        )
    except Malformed as error:
        raise Problem(422, error.cause, str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Problem(422, "wrong_schema", str(error)) from None


def _problem_of(error: ReplyTimeout | CallExpired | RequestFailed) -> Problem:
    """Return the problem of a call without a reply: another call may succeed after a timeout only."""
    if isinstance(error, ReplyTimeout):
        return Problem(504, "reply_timeout", str(error), headers=RETRY_AFTER_HEADER)
    if isinstance(error, CallExpired):
        return Problem(422, "request_expired", str(error))
    return Problem(422, "request_failed", "the request failed and is dead-lettered; see `prebook parking list`")


def _reply_response(reply: Envelope) -> Response[bytes]:
    wire = encode(reply)
    return Response(wire.body, headers=dict(wire.headers), media_type=wire.headers.get(CONTENT_TYPE_HEADER, JSON))
