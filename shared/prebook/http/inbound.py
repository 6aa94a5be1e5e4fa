"""The internal HTTP doors of a service: held calls, accepted operations, callbacks. They translate and delegate."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from prebook.contracts.replays import Admission
from prebook.coupling.async_api import Callback
from prebook.coupling.inbound import Doors, NoAnswerInTime, must_be
from prebook.flows import FLOWS
from prebook.http.problems import Problem
from prebook.messaging.clock import unix_s
from prebook.messaging.codec import SAFE_ID, Malformed, Wire, decode, encode
from prebook.messaging.envelope import Envelope, Kind
from prebook.messaging.policy import Policies
from prebook.patterns.signature import Forged, verify

RETRY_AFTER = {"retry-after": "1"}


def doors(service: str, way_in: Doors, policies: Policies, secrets: Sequence[str]) -> list[BaseRouteHandler]:
    """Route handlers for the flows that this service provides, and for callbacks to the flows it calls."""

    @post("/flows/{flow:str}", status_code=200, include_in_schema=False)
    async def call(request: Request[Any, Any, Any], flow: FromPath[str]) -> Response[bytes]:
        envelope = await _request_of(request, service, flow)
        try:
            answer = await way_in.call(envelope, policies[flow].timeout_s)
        except NoAnswerInTime as error:
            raise Problem(504, "no_answer_in_time", str(error), headers=RETRY_AFTER) from None
        return _spoken(answer)

    @post("/flows/{flow:str}/operations", status_code=202, include_in_schema=False)
    async def accept(request: Request[Any, Any, Any], flow: FromPath[str]) -> Response[bytes]:
        envelope = await _request_of(request, service, flow)
        await way_in.accept(envelope)
        location = {"location": f"/operations/{envelope.id}", "preference-applied": "respond-async"}
        return Response(b"", status_code=202, headers={**location, **RETRY_AFTER})

    @get("/operations/{request_id:str}", include_in_schema=False)
    async def operation(request_id: FromPath[str]) -> Response[bytes]:
        if not SAFE_ID.match(request_id):
            raise Problem(404, "no_such_operation", "an operation's id is the id of the request that began it")
        answer = await way_in.operation(request_id)
        return _spoken(answer) if answer else Response(b"", status_code=202, headers=RETRY_AFTER)

    @post("/callbacks/{flow:str}", status_code=204, include_in_schema=False)
    async def callback(request: Request[Any, Any, Any], flow: FromPath[str]) -> None:
        body = await request.body()
        try:
            verify(secrets, request.headers, body, now_s=unix_s())
        except Forged as error:
            raise Problem(401, "forged", f"{error}; sign the body with the shared secret") from None
        await way_in.message(_answer_of(body, service, flow))

    @get("/inbox/{message_id:str}", include_in_schema=False)
    async def inbox(message_id: FromPath[str]) -> Admission:
        if not (admitted_at := await way_in.endpoint.admitted_at(message_id)):
            raise Problem(404, "not_admitted", "no such message has had its effect here, as far as we remember")
        return Admission(admitted_at=admitted_at)

    return [call, accept, operation, callback, inbox]


async def _request_of(request: Request[Any, Any, Any], service: str, flow: FromPath[str]) -> Envelope:
    if flow not in FLOWS or FLOWS[flow].provider != service:
        raise Problem(404, "no_such_flow", f"{service} provides no flow {flow!r}")
    try:
        return must_be(Kind.REQUEST, flow, decode(Wire(request.headers, await request.body())))
    except Malformed as error:
        raise Problem(422, error.cause, str(error)) from None


def _answer_of(body: bytes, service: str, flow: FromPath[str]) -> Envelope:
    if flow not in FLOWS or FLOWS[flow].caller != service:
        raise Problem(404, "no_such_flow", f"{service} asks nobody by a flow {flow!r}")
    try:
        told = msgspec.json.decode(body, type=Callback)
        return must_be(Kind.ANSWER, flow, decode(Wire(told.headers, told.body.encode())))
    except msgspec.DecodeError as error:
        raise Problem(422, "wrong_schema", str(error)) from None
    except Malformed as error:
        raise Problem(422, error.cause, str(error)) from None


def _spoken(answer: Envelope) -> Response[bytes]:
    wire = encode(answer)
    return Response(wire.body, headers=dict(wire.headers), media_type="application/json")
