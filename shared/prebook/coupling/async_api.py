"""Asynchronous API coupling: the provider accepts a request with 202, and replies later by a signed callback.

Like every call between services, a callback is signed by the HTTP client. The caller polls for a reply whose callback
was lost.
"""

import msgspec

from prebook.coupling.http_errors import ACCEPTED, NO_CONTENT, NOT_FOUND, OK, error_from_response
from prebook.coupling.ports import HttpClient
from prebook.coupling.return_address import caller_of
from prebook.flows import FLOWS
from prebook.messaging.channel import CouplingTraits
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, Undeliverable
from prebook.messaging.message_document import MessageDocument

CALL_TIMEOUT_S = 3.0
"""Seconds that one HTTP exchange may take: a request, a callback or a poll."""
JSON = {"content-type": "application/json"}


class AsyncApi:
    """Channel of the ``async_api`` coupling."""

    traits = CouplingTraits(replies_inline=False, needs_broker_up=False, uses_outbox=True, polls=True)

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def route(self, envelope: Envelope) -> str:
        """Return the route of the called service: the provider for a request, the caller for a reply."""
        flow = FLOWS[envelope.flow]
        return f"http:{flow.caller if envelope.source == flow.provider else flow.provider}"

    def addressed(self, request: Envelope) -> Envelope:
        """Return the request with its sender as return address."""
        return request.with_reply_to(request.source)

    async def send(self, envelope: Envelope) -> None:
        """Post a request to the provider, which accepts it with 202. Raises Unreachable, Undeliverable."""
        provider = FLOWS[envelope.flow].provider
        path = f"/flows/{envelope.flow}/operations"
        message = encode(envelope)
        response = await self._http.request(
            "POST", provider, path, headers=message.headers, body=message.body, timeout_s=CALL_TIMEOUT_S
        )
        if response.status != ACCEPTED:
            raise error_from_response(provider, response)

    async def reply(self, reply: Envelope) -> None:
        """Post a callback with the reply to the flow's caller. Raises Unreachable, Undeliverable."""
        caller = caller_of(reply)
        body = msgspec.json.encode(MessageDocument.of(encode(reply)))
        response = await self._http.request(
            "POST", caller, f"/callbacks/{reply.flow}", headers=JSON, body=body, timeout_s=CALL_TIMEOUT_S
        )
        if response.status != NO_CONTENT:
            raise error_from_response(caller, response)

    async def poll(self, request: Envelope) -> Envelope | None:
        """Get the reply to a request from the provider; None if there is none yet.

        Raises Unreachable, Undeliverable.
        """
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
            raise Undeliverable(f"the reply of {provider} cannot be decoded: {error}") from error

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - the outbox keeps requests of any provider
        """Return None: requests wait in the outbox."""
        return None
