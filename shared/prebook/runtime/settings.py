"""Settings of one service process."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, OPERATIONS, SERVICES
from prebook.http.callback_targets import unusable_hosts
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import FlowPolicy, read_policies
from prebook.runtime import environment
from prebook.runtime.environment import BadSettings
from prebook.runtime.message_settings import MessageSettings
from prebook.runtime.retention import MAX_OUTBOX_DEDUP_S, OUTBOX_DEDUP_S
from prebook.runtime.settings_checks import (
    SECRET_FORMAT,
    require_valid_forms,
    require_valid_proxies,
    require_valid_secrets,
    split_caller_secrets,
)

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
DatabaseUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^postgresql\+asyncpg://", examples=["postgresql+asyncpg://role:password@host:port/database"]
    ),
]
AmqpUrl = Annotated[str, msgspec.Meta(pattern="^amqps?://", examples=["amqp://user:password@host:port/vhost"])]
CallerSecret = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]*=.")]
OperatorToken = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_-]{0,39}=[!-~]{16,}$")]
HttpUrl = Annotated[str, msgspec.Meta(pattern="^https?://", examples=["http://host:port"])]

RELOADABLE_SECRETS = ("signing_secrets", "caller_secrets", "operator_tokens", "rider_callback_secrets")
"""Settings that are reloaded when their files change (``secret_reload``)."""


class ServiceSettings(MessageSettings, kw_only=True):
    """Each field is an environment variable: ``http_port`` is PREBOOK_HTTP_PORT (or PREBOOK_HTTP_PORT_FILE).

    No field changes while the service runs but the secrets (``RELOADABLE_SECRETS``), which are read at every use.

    A field's description is its meaning in docs/reference/settings.md and in the error about a wrong value; its example
    is the expected format.
    """

    database_url: Annotated[DatabaseUrl, msgspec.Meta(description="database URL with the service's own role")]
    amqp_url: Annotated[
        AmqpUrl, msgspec.Meta(description="broker URL with the service's own user; several nodes separated by commas")
    ]
    signing_secrets: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            min_length=1,
            description="comma-separated secrets of this service that sign its calls to other services, the newest "
            "first; " + SECRET_FORMAT,
            examples=["whsec_<base64>,whsec_<base64>"],
        ),
    ]
    caller_secrets: Annotated[
        tuple[CallerSecret, ...],
        msgspec.Meta(
            min_length=1,
            description="comma-separated secrets that verify the calls of each caller to this service, several of a "
            "caller during a rotation; `prebook secrets` derives them from the callers' own",
            examples=["booking=whsec_<base64>,operations=whsec_<base64>"],
        ),
    ]
    internal_url_booking: Annotated[HttpUrl, msgspec.Meta(description="base URL of the internal listener of booking")]
    internal_url_pricing: Annotated[HttpUrl, msgspec.Meta(description="base URL of the internal listener of pricing")]
    internal_url_matching: Annotated[HttpUrl, msgspec.Meta(description="base URL of the internal listener of matching")]
    internal_url_notification: Annotated[
        HttpUrl, msgspec.Meta(description="base URL of the internal listener of notification")
    ]
    internal_url_fleets: Annotated[HttpUrl, msgspec.Meta(description="base URL of the internal listener of fleets")]
    couplings: Annotated[
        str,
        msgspec.Meta(
            description="path of the file with the default plan and the policy of every flow",
            examples=["deploy/couplings.toml"],
        ),
    ]
    http_host: Annotated[str, msgspec.Meta(description="address of the public listener")] = "127.0.0.1"
    http_port: Annotated[
        Port, msgspec.Meta(description="TCP port of the public listener, for riders or operators, 1 to 65535")
    ] = 8000
    internal_host: Annotated[
        str, msgspec.Meta(description="address of the internal listener; no stranger should reach it")
    ] = "127.0.0.1"
    internal_port: Annotated[
        Port, msgspec.Meta(description="TCP port of the internal listener, for services and tools, 1 to 65535")
    ] = 8001
    max_connections: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="HTTP connections that a port of the service keeps open at a time; fewer if the process may "
            "not open that many files",
        ),
    ] = 1_000
    peer_connection_share: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=1,
            description="largest share of the connections of a port that one client, an IPv4 address or a /64 network "
            "of IPv6, may have; trusted_proxies may have all; 1 for all behind a proxy that names no riders",
        ),
    ] = 0.5
    allow_plan_override: Annotated[
        bool, msgspec.Meta(description="true or false: whether a booking may bring its own couplings")
    ] = False
    rider_callback_hosts: Annotated[
        frozenset[str],
        msgspec.Meta(
            description="comma-separated hosts that riders' callbacks may be sent to: host or host:port for https to a "
            "public address, http://host:port for plain http",
            examples=["hooks.example.com"],
        ),
    ] = frozenset()
    rider_callback_secrets: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="comma-separated secrets that sign riders' callbacks, the newest first; "
            "required with rider_callback_hosts; " + SECRET_FORMAT,
            examples=["whsec_<base64>,whsec_<base64>"],
        ),
    ] = ()
    operator_tokens: Annotated[
        tuple[OperatorToken, ...],
        msgspec.Meta(
            description="comma-separated name=token of the operators who may use operations, each token of at least "
            "16 characters; without one operations refuses every request",
            examples=["console=<token>,alice=<token>"],
        ),
    ] = ()
    operator_hosts: Annotated[
        frozenset[str],
        msgspec.Meta(
            description="comma-separated host names, without ports, by which operators reach operations",
            examples=["localhost,operations.example.com"],
        ),
    ] = frozenset({"localhost", "127.0.0.1", "[::1]", OPERATIONS})
    fare_enrichment: Annotated[
        Literal["off", "wait", "skip", "park"],
        msgspec.Meta(
            description="whether pricing adds the rider's profile to the request for a fare, and what happens to the "
            "request while notification is away: it waits, is quoted without the profile, or is parked; set it alike "
            "for booking, which then names the rider in the request"
        ),
    ] = "off"
    profile_max_age_s: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=86_400, description="seconds for which pricing may reuse a profile; 0: it looks up each one"
        ),
    ] = 60.0
    campaign_quota: Annotated[int, msgspec.Meta(ge=0, description="number of discounts the campaign may grant")] = (
        1_000_000
    )
    campaign: Annotated[
        str,
        msgspec.Meta(
            pattern="^[a-z0-9_-]{1,40}$",
            description="name of the campaign whose tokens booking takes",
            examples=["launch"],
        ),
    ] = "launch"
    campaign_tokens: Annotated[
        int,
        msgspec.Meta(ge=0, description="bookings the campaign accepts in each window, over all replicas; 0: no limit"),
    ] = 0
    campaign_window_s: Annotated[
        float, msgspec.Meta(ge=1, le=86_400, description="length of a campaign window in seconds")
    ] = 60.0
    back_pressure: Annotated[
        Literal["on", "off"],
        msgspec.Meta(description="on or off: whether booking refuses rides that it could not settle in time"),
    ] = "on"
    max_pending_requests: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="unanswered requests of one flow and coupling, also to a provider that is away, above which "
            "bookings are refused",
        ),
    ] = 5_000
    max_waiting_riders: Annotated[
        int, msgspec.Meta(ge=1, description="riders that may wait for a synchronous booking at a time")
    ] = 64
    max_outbox_rows: Annotated[
        int, msgspec.Meta(ge=1, description="rows waiting in booking's outbox above which bookings are refused")
    ] = 5_000
    max_outbox_age_s: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            description="seconds that booking's oldest request may wait in the outbox to be published; "
            "less than the flows' deadline_s",
        ),
    ] = 100.0
    max_broker_blocked_s: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            description="seconds for which the broker may block publishers before bookings that need it are refused",
        ),
    ] = 5.0
    rider_header: Annotated[
        str,
        msgspec.Meta(
            pattern="^[A-Za-z0-9-]{1,64}$",
            description="header in which a proxy names the rider whom it has authenticated; required with "
            "trusted_proxies; without it nobody is authenticated, and the rider is the rider_id of the body",
            examples=["X-Rider-Id"],
        ),
    ] = ""
    trusted_proxies: Annotated[
        frozenset[str],
        msgspec.Meta(
            description="comma-separated networks of the proxies that are believed in rider_header; other peers get "
            "401 for requests of riders",
            examples=["10.0.0.0/24,::1/128"],
        ),
    ] = frozenset()
    rider_rate_per_s: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            description="bookings per second that one rider may request; 0: no limit. "
            "Set it only with rider_header, else anybody can use up another rider's rate",
        ),
    ] = 0.0
    rider_burst: Annotated[int, msgspec.Meta(ge=1, description="bookings that one rider may request at once")] = 10
    seed: Annotated[int, msgspec.Meta(description="seed of the simulated fleets, a whole number")] = 7
    outbox_dedup_s: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=MAX_OUTBOX_DEDUP_S,
            description="seconds, up to a week, in which a repeated operation enqueues no new message",
        ),
    ] = OUTBOX_DEDUP_S
    otlp_url: Annotated[
        str,
        msgspec.Meta(
            pattern="^(https?://.+)?$",
            description="base URL of an OpenTelemetry collector, which gets the spans of messages by OTLP over HTTP; "
            "empty: none are exported. Needs the extra otel",
            examples=["http://collector:4318"],
        ),
    ] = ""
    log_level: Annotated[
        str, msgspec.Meta(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")
    ] = "info"

    @property
    def internal_urls(self) -> Mapping[str, str]:
        """Base URL of the internal listener of each service."""
        return {name: getattr(self, f"internal_url_{name}") for name in SERVICES}

    @property
    def enriches_fares(self) -> bool:
        """Whether the request for a fare names the rider, and pricing adds the rider's profile."""
        return self.fare_enrichment != "off"

    @property
    def tokens_of_operators(self) -> list[tuple[str, str]]:
        """Name and token of operators; an operator has several tokens during a rotation."""
        return [(name, token) for name, _, token in (entry.partition("=") for entry in self.operator_tokens)]

    def __repr__(self) -> str:
        return "ServiceSettings(<not printed: it holds secrets>)"


def read_settings(env: Mapping[str, str] = os.environ) -> tuple[ServiceSettings, dict[str, FlowPolicy]]:
    """Return the settings and the policies of the flows; PREBOOK_COUPLING_<FLOW> overrides the file.

    Raises: BadSettings.
    """
    settings = environment.read(ServiceSettings, env)
    require_valid_secrets("PREBOOK_SIGNING_SECRETS", settings.signing_secrets)
    require_valid_secrets(
        "PREBOOK_CALLER_SECRETS", [secret for _, secret in split_caller_secrets(settings.caller_secrets)]
    )
    require_valid_secrets("PREBOOK_RIDER_CALLBACK_SECRETS", settings.rider_callback_secrets)
    if settings.http_port == settings.internal_port:
        raise BadSettings("PREBOOK_INTERNAL_PORT is that of PREBOOK_HTTP_PORT; the listeners need two ports")
    require_valid_forms(settings.message_versions, settings.message_formats)
    require_valid_proxies(settings.rider_header, settings.trusted_proxies)
    if unusable := unusable_hosts(settings.rider_callback_hosts):
        raise BadSettings(
            f"PREBOOK_RIDER_CALLBACK_HOSTS: {', '.join(map(repr, unusable))} cannot be used; write host or "
            "host:port for https to a public address, or http://host:port, without a path or a wildcard"
        )
    if settings.rider_callback_hosts and not settings.rider_callback_secrets:
        raise BadSettings(
            "PREBOOK_RIDER_CALLBACK_SECRETS is missing: PREBOOK_RIDER_CALLBACK_HOSTS allows calls, which must be signed"
        )
    try:
        policies = read_policies(Path(settings.couplings))
    except InvalidPolicies as error:
        raise BadSettings(f"PREBOOK_COUPLINGS: {error}") from None
    return settings, {name: _with_coupling_override(name, policies[name], env) for name in FLOWS}


def _with_coupling_override(flow: str, policy: FlowPolicy, env: Mapping[str, str]) -> FlowPolicy:
    variable = f"PREBOOK_COUPLING_{flow.upper()}"
    if not env.get(variable):
        return policy
    try:
        return msgspec.structs.replace(policy, coupling=Coupling(env[variable]))
    except ValueError:
        raise BadSettings(f"{variable}: {env[variable]!r} is none of {', '.join(Coupling)}") from None
