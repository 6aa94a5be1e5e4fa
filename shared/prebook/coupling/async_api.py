"""Call, get 202 and go on: the answer comes by a signed callback, or is asked for where that is lost."""

from collections.abc import Callable, Sequence

import msgspec

from prebook.coupling.ports import HttpClient
from prebook.coupling.sync_api import OK, error_from_response
from prebook.flows import FLOWS
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.clock import unix_s
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Undeliverable
from prebook.patterns.signature import sign

CALL_TIMEOUT_S = 3.0
ACCEPTED, NO_CONTENT, NOT_FOUND = 202, 204, 404


class Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a callback: the answer with its headers, so that the signature covers both."""

    headers: dict[str, str]
    body: str


class AsyncApi:
    traits = CouplingTraits(
        replies_inline=False, needs_provider_up=True, needs_broker_up=False, uses_outbox=True, polls=True
    )

    def __init__(self, http: HttpClient, secrets: Sequence[str], *, clock: Callable[[], float] = unix_s) -> None:
        self._http, self._secrets, self._clock = http, secrets, clock

    def route(self, envelope: Envelope) -> str:
        """A lane for each service that is called: the provider with questions, the caller with answers."""
        flow = FLOWS[envelope.flow]
        return f"http:{flow.caller if envelope.source == flow.provider else flow.provider}"

    def addressed(self, request: Envelope) -> Envelope:
        return request.with_reply_to(request.source)

    async def send(self, envelope: Envelope) -> None:
        provider, wire = FLOWS[envelope.flow].provider, encode(envelope)
        path = f"/flows/{envelope.flow}/operations"
        response = await self._http.request(
            "POST", provider, path, headers=wire.headers, body=wire.body, timeout_s=CALL_TIMEOUT_S
        )
        if response.status != ACCEPTED:
            raise error_from_response(provider, response)

    async def reply(self, reply: Envelope) -> None:
        """Only the flow's caller is called back, whatever address a request claims."""
        caller = FLOWS[reply.flow].caller
        if reply.reply_to != caller:
            raise Undeliverable(f"{reply.reply_to!r} is no caller of {reply.flow}")
        wire = encode(reply)
        body = msgspec.json.encode(Callback(dict(wire.headers), wire.body.decode()))
        headers = {"content-type": "application/json", **sign(self._secrets, reply.id, int(self._clock()), body)}
        response = await self._http.request(
            "POST", caller, f"/callbacks/{reply.flow}", headers=headers, body=body, timeout_s=CALL_TIMEOUT_S
        )
        if response.status != NO_CONTENT:
            raise error_from_response(caller, response)

    async def poll(self, request: Envelope) -> Envelope | None:
        """Ask after the answer; None where there is none yet. Raises Unreachable, Undeliverable."""
        provider = FLOWS[request.flow].provider
        path = f"/operations/{request.id}"
        response = await self._http.request("GET", provider, path, headers={}, timeout_s=CALL_TIMEOUT_S)
        if response.status in (ACCEPTED, NOT_FOUND):
            return None
        if response.status != OK:
            raise error_from_response(provider, response)
        try:
            return decode(WireMessage(response.headers, response.body))
        except Malformed as error:
            raise Undeliverable(f"{provider} answered what we cannot read: {error}") from error

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - the outbox waits, the caller need not
        return None
