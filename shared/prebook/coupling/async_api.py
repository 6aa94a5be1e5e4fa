"""Call, get 202 and go on: the answer comes by a signed callback, or is asked for where that is lost."""

from collections.abc import Callable, Sequence

import msgspec

from prebook.coupling.ports import Http
from prebook.coupling.sync_api import OK, refusal
from prebook.flows import FLOWS
from prebook.messaging.channel import Traits, Undeliverable
from prebook.messaging.clock import unix_s
from prebook.messaging.codec import Malformed, Wire, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.patterns.signature import sign

TIMEOUT_S = 3.0
ACCEPTED, NO_CONTENT, NOT_FOUND = 202, 204, 404


class Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a callback: the answer with its headers, so that the signature covers both."""

    headers: dict[str, str]
    body: str


class AsyncApi:
    traits = Traits(answers_inline=False, needs_provider_up=True, needs_broker_up=False, uses_outbox=True, polls=True)

    def __init__(self, http: Http, secrets: Sequence[str], *, clock: Callable[[], float] = unix_s) -> None:
        self._http, self._secrets, self._clock = http, secrets, clock

    def lane(self, envelope: Envelope) -> str:
        """A lane for each service that is called: the provider with questions, the caller with answers."""
        flow = FLOWS[envelope.flow]
        return f"http:{flow.caller if envelope.source == flow.provider else flow.provider}"

    def stamped(self, request: Envelope) -> Envelope:
        return request.returning_to(request.source)

    async def send(self, envelope: Envelope) -> None:
        provider, wire = FLOWS[envelope.flow].provider, encode(envelope)
        path = f"/flows/{envelope.flow}/operations"
        response = await self._http.request(
            "POST", provider, path, headers=wire.headers, body=wire.body, timeout_s=TIMEOUT_S
        )
        if response.status != ACCEPTED:
            raise refusal(provider, response)

    async def reply(self, answer: Envelope) -> None:
        """Only the flow's caller is called back, whatever address a request claims."""
        caller = FLOWS[answer.flow].caller
        if answer.reply_to != caller:
            raise Undeliverable(f"{answer.reply_to!r} is no caller of {answer.flow}")
        wire = encode(answer)
        body = msgspec.json.encode(Callback(dict(wire.headers), wire.body.decode()))
        headers = {"content-type": "application/json", **sign(self._secrets, answer.id, int(self._clock()), body)}
        response = await self._http.request(
            "POST", caller, f"/callbacks/{answer.flow}", headers=headers, body=body, timeout_s=TIMEOUT_S
        )
        if response.status != NO_CONTENT:
            raise refusal(caller, response)

    async def poll(self, request: Envelope) -> Envelope | None:
        """Ask after the answer; None where there is none yet. Raises Unreachable, Undeliverable."""
        provider = FLOWS[request.flow].provider
        path = f"/operations/{request.id}"
        response = await self._http.request("GET", provider, path, headers={}, timeout_s=TIMEOUT_S)
        if response.status in (ACCEPTED, NOT_FOUND):
            return None
        if response.status != OK:
            raise refusal(provider, response)
        try:
            return decode(Wire(response.headers, response.body))
        except Malformed as error:
            raise Undeliverable(f"{provider} answered what we cannot read: {error}") from error

    def retry_after_s(self, provider: str) -> float | None:  # noqa: ARG002 - the outbox waits, the caller need not
        return None
