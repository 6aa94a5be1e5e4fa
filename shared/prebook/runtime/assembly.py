"""Composition of one service over ports: the same for production (``runtime.serve``) and for tests (``testing``)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from litestar.types import ControllerRouterHandler

from prebook.coupling.channels import Transports, build_channels
from prebook.coupling.inbound import InboundGateway
from prebook.coupling.ports import HttpClient, Publisher
from prebook.coupling.reply_waiters import ReplyWaiters, StoredReplyLookup
from prebook.http.call_guard import guarded_routes
from prebook.http.claim_store import claim_store_routes
from prebook.http.claim_store_client import claim_redeemer
from prebook.http.conversations import ReadConversation, conversation_route
from prebook.http.inbound import inbound_routes
from prebook.http.signed_client import SignedHttpClient
from prebook.messaging.body_writer import BodyWriter, parse_formats, parse_versions
from prebook.messaging.channel import Channels
from prebook.messaging.claim_checks import ClaimCheckPolicy
from prebook.messaging.clock import utc_now
from prebook.messaging.deadlines import Deadlines, PendingReplies, ReplyPoller
from prebook.messaging.envelope import Envelope, reply_id
from prebook.messaging.errors import RequestFailed
from prebook.messaging.gateway import MessagingGateway, create_gateway
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.policy import Policies
from prebook.messaging.throttle import throttled
from prebook.messaging.unit_of_work import UnitOfWork, UnitsOfWork
from prebook.patterns.call_signature import CallRefusal
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.runtime.call_secrets import caller_keys
from prebook.runtime.claim_lifetime import claim_lifetime_s
from prebook.runtime.service import Service, ServiceContext, ServiceExtensions
from prebook.runtime.settings import ServiceSettings

U = TypeVar("U", bound=UnitOfWork)


@dataclass(frozen=True)
class ServicePorts(Generic[U]):
    """The adapters that a service is assembled over."""

    http: HttpClient
    """Sends calls to other services, which the service signs."""
    publisher: Publisher
    units: UnitsOfWork[U]
    """Their commits hand off to ``relay``."""
    relay: Relay
    pending_replies: PendingReplies
    broker_blocked_s: Callable[[], float | None] = lambda: None
    on_refused_call: Callable[[CallRefusal], None] = lambda _: None
    """Counts the internal calls that are refused."""
    clock: Callable[[], datetime] = utc_now
    """Wall clock of the service, in UTC."""
    read_conversation: ReadConversation | None = None
    """Reads what the service has recorded of a conversation; None: it has no endpoint for that."""


@dataclass(frozen=True)
class AssembledService(Generic[U]):
    """A service whose parts are connected; nothing runs yet."""

    name: str
    gateway: MessagingGateway[U]
    receive: MessageHandler
    """Handles a message from the broker, at the rates of the policies."""
    channels: Channels
    context: ServiceContext[U]
    extensions: ServiceExtensions
    routes: Sequence[ControllerRouterHandler]
    """Routes of the public listener."""
    internal_routes: Sequence[ControllerRouterHandler]
    """Routes of the internal listener: inbound HTTP adapters, and reads of the console."""
    loops: Mapping[str, Callable[[], Awaitable[Any]]]
    """Background work common to all services, by name."""


def assemble(
    service: Service[U],
    settings: ServiceSettings,
    policies: Policies,
    ports: ServicePorts[U],
    observer: MessagingObserver,
) -> AssembledService[U]:
    """Connect a service's handlers and extensions to its ports."""
    waiters = ReplyWaiters()
    http = SignedHttpClient(ports.http, service.name, lambda: settings.signing_secrets)
    channels = build_channels(Transports(http, ports.publisher, policies, waiters))
    handlers = service.handler_table(settings, http)
    lifetime = timedelta(seconds=claim_lifetime_s(settings, policies))
    dead_letters = DeadLetterPublisher(ports.publisher, observer)

    async def dead_letter(envelope: Envelope, cause: str, error: Exception) -> None:
        await dead_letters.dead_letter_local(envelope, cause, error)
        waiters.fail(reply_id(envelope.id), RequestFailed(f"{envelope.flow} is dead-lettered: {cause}"))

    gateway = create_gateway(
        service.name,
        handlers,
        ports.units,
        channels,
        policies,
        dead_letter=dead_letter,
        claim_checks=ClaimCheckPolicy(settings.claim_check_threshold_bytes, lifetime),
        redeem=claim_redeemer(http),
        writer=BodyWriter(parse_versions(settings.message_versions), parse_formats(settings.message_formats)),
        observer=observer,
        clock=ports.clock,
        exports_spans=bool(settings.otlp_url),
    )
    context = ServiceContext(
        gateway, ports.units, settings, policies, channels, ports.publisher, http, ports.broker_blocked_s
    )
    inbound = InboundGateway(gateway, ports.units.messages, waiters, context.tasks)
    extensions = service.extensions(context)
    internal_routes = [
        *extensions.internal_routes,
        *inbound_routes(service.name, inbound, policies),
        *claim_store_routes(service.name, inbound, lifetime),
        *([conversation_route(ports.read_conversation)] if ports.read_conversation else []),
    ]
    return AssembledService(
        name=service.name,
        gateway=gateway,
        receive=throttled(inbound.receive, policies),
        channels=channels,
        context=context,
        extensions=extensions,
        routes=extensions.routes,
        internal_routes=[
            guarded_routes(internal_routes, lambda: caller_keys(settings.caller_secrets), ports.on_refused_call)
        ],
        loops={
            "relay": lambda: ports.relay.run(gateway.dispatch),
            "deadlines": Deadlines(ports.pending_replies, gateway).run,
            "poller": ReplyPoller(ports.pending_replies, gateway, channels).run,
            "reply_lookup": StoredReplyLookup(waiters, ports.units.background).run,
        },
    )
