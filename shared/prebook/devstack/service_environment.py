"""Options of a local suite, and the environment variables that each of its processes gets."""

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from urllib.parse import urlsplit, urlunsplit

from prebook.devstack.container_environment import SUPERVISOR_SETTINGS, variable_names
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import make_private_dir
from prebook.devstack.key_ring import KeyRing, generate_key_ring, split_secrets, write_key_ring
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.proxies.proxy import FaultProxy, HostPort, host_port
from prebook.devstack.stack import Stack
from prebook.devstack.suite_state import SuiteState
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.flows import CONSOLE, PROCESSES, SERVICES
from prebook.messaging.addresses import VHOST, broker_user
from prebook.messaging.errors import InvalidPolicies
from prebook.messaging.policy import read_policies
from prebook.patterns.signature import generate_secret
from prebook.runtime import paths
from prebook.topology.access import ACCOUNTS
from prebook.topology.ride_subscriptions import read_ride_subscriptions

ADMIN_SETTINGS = ("DATABASE_URL", "AMQP_URL", "MANAGEMENT_URL", "MANAGEMENT_USER", "MANAGEMENT_PASSWORD")
"""Administrators' access: no service gets it."""


BROKER_NODE_CHOICES = ("1", "3")
TRUE_VALUES = frozenset({"1", "true", "yes", "on"})
Proxies = Mapping[str, FaultProxy]
NO_PROXIES: Proxies = {}
RIDER_CALLBACK_HOSTS = "PREBOOK_RIDER_CALLBACK_HOSTS"
RIDER_CALLBACK_SECRETS = "PREBOOK_RIDER_CALLBACK_SECRETS"


def generate_passwords() -> dict[str, str]:
    """Generate a random password for each account at the broker, for this run only. Raises UserError."""
    return {account: secrets.token_urlsafe(24) for account in (*ACCOUNTS, *read_subscribers())}


def read_subscribers() -> tuple[str, ...]:
    """Return the accounts of the subscribers to confirmed rides. Raises UserError if they are wrongly configured."""
    try:
        return tuple(read_ride_subscriptions(paths.couplings_file()).queues)
    except InvalidPolicies as error:
        raise UserError(str(error), f"correct {paths.couplings_file()}") from error


def read_broker_nodes(env: Mapping[str, str]) -> int:
    """Return the value of PREBOOK_BROKER_NODES, 1 by default. Raises UserError if it is unknown."""
    given = env.get("PREBOOK_BROKER_NODES") or "1"
    if given not in BROKER_NODE_CHOICES:
        raise UserError(
            f"PREBOOK_BROKER_NODES is {given!r}", f"set it to {' or '.join(BROKER_NODE_CHOICES)}, or leave it out"
        )
    return int(given)


def count_ports(replicas: int = 1) -> int:
    """Return the number of ports of a suite: two for each process, and those of the control API and the page."""
    return 2 * (len(PROCESSES) + (replicas - 1) * len(SERVICES)) + 2


@dataclass(frozen=True)
class ProcessPorts:
    """Ports of a process, and the service that it runs."""

    service: str
    public_port: int
    internal_port: int


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """Options of a local suite.

    ``ports``: as many as ``count_ports`` says: the public ports in the order of PROCESSES, that of the control API, the
    internal ports in the same order, that of the control room, and the public and the internal port of each further
    replica.
    """

    ports: tuple[int, ...]
    allow_plan_override: bool = True
    seed: int = 7
    log_level: str = "info"
    fault_proxies: bool = field(default_factory=lambda: os.environ.get("PREBOOK_FAULT_PROXIES", "") in TRUE_VALUES)
    """Route broker, database and service connections through fault-injection proxies."""
    replicas: int = 1
    """Instances of every service; callers know the port of the first, the others consume and relay."""
    broker_nodes: int = field(default_factory=lambda: read_broker_nodes(os.environ))
    settings: Mapping[str, str] = field(default_factory=dict)
    """PREBOOK_* variables for every service; they override this process's own."""
    passwords: Mapping[str, str] = field(default_factory=generate_passwords, repr=False)
    keys: KeyRing = field(default_factory=generate_key_ring, repr=False)
    """Secrets of calls, and the console's token at operations. ``key_ring`` adds those of riders' callbacks."""
    control_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def key_ring(self) -> KeyRing:
        """Secrets that the services read from files, those of riders' callbacks included if they are set."""
        given = {**os.environ, **self.settings}.get(RIDER_CALLBACK_SECRETS, "")
        return replace(self.keys, rider_callbacks=split_secrets(given))

    @property
    def urls(self) -> dict[str, str]:
        """Base URL of the public listener of the first process of each service, by service name."""
        return {name: f"http://{LOOPBACK}:{self.processes[name].public_port}" for name in PROCESSES}

    @property
    def internal_urls(self) -> dict[str, str]:
        """Base URL of the internal listener of the first process of each service, by service name."""
        return {name: f"http://{LOOPBACK}:{self.processes[name].internal_port}" for name in PROCESSES}

    @property
    def process_urls(self) -> dict[str, str]:
        """Base URL of the internal listener of each process, by process name."""
        return {name: f"http://{LOOPBACK}:{process.internal_port}" for name, process in self.processes.items()}

    @property
    def control_port(self) -> int:
        """Port of the control API."""
        return self.ports[len(PROCESSES)]

    @property
    def page_port(self) -> int:
        """Port of the control room."""
        return self.ports[2 * len(PROCESSES) + 1]

    @property
    def page_url(self) -> str:
        """Base URL of the control room."""
        return f"http://{LOOPBACK}:{self.page_port}"

    @property
    def processes(self) -> dict[str, ProcessPorts]:
        """First process of each service and each further replica, by name.

        Operations has no replica: one process must run replays.
        """
        count = len(PROCESSES)
        public, internal, rest = self.ports[:count], self.ports[count + 1 : 2 * count + 1], self.ports[2 * count + 2 :]
        replicas = [(f"{service}-{n}", service) for n in range(2, self.replicas + 1) for service in SERVICES]
        return {
            name: ProcessPorts(service, *ports)
            for (name, service), ports in zip(
                [*zip(PROCESSES, PROCESSES, strict=True), *replicas],
                [*zip(public, internal, strict=True), *zip(rest[::2], rest[1::2], strict=True)],
                strict=True,
            )
        }


def proxy_upstreams(options: SuiteOptions, stack: Stack) -> dict[str, Sequence[HostPort]]:
    """Return the upstreams of each proxy by its name; empty without ``options.fault_proxies``."""
    found: dict[str, Sequence[HostPort]] = {}
    for service in PROCESSES if options.fault_proxies else ():
        found[f"{service}-broker"] = [host_port(url) for url in stack.broker.amqp_urls]
        found[f"{service}-database"] = [host_port(stack.database.url)]
        found[f"http-{service}"] = [host_port(options.internal_urls[service])]
    return found


def secrets_dir(stack: Stack) -> Path:
    """Return the folder of the files that ``write_secrets`` writes."""
    return stack.data_dir / "secrets"


def write_secrets(options: SuiteOptions, stack: Stack) -> None:
    """Write the files from which the services read their secrets; they are removed with the stack. Raises UserError."""
    write_key_ring(make_private_dir(secrets_dir(stack), None), options.key_ring)


def process_specs(
    options: SuiteOptions, stack: Stack, log_dir: Path, proxies: Proxies = NO_PROXIES
) -> list[ProcessSpec]:
    """Return a process for each service and each extra replica; their connections go through the proxies, if any."""
    return [
        ProcessSpec(
            name=name,
            args=(sys.executable, "-m", f"prebook.{process.service}"),
            env={
                **_service_environment(process.service, options, stack, proxies),
                "PREBOOK_HTTP_PORT": str(process.public_port),
                "PREBOOK_INTERNAL_PORT": str(process.internal_port),
            },
            ready_url=f"http://{LOOPBACK}:{process.internal_port}/readyz",
            log_file=log_dir / f"{name}.log",
        )
        for name, process in options.processes.items()
    ]


def lab_environment(state: SuiteState, *, with_database: bool = False) -> dict[str, str]:
    """Return the variables by which the lab reaches the suite and injects faults.

    ``with_database``: include the administrator's database URL and the flows' time limits, for a lab run that judges
    the tables.
    """
    judge = {"PREBOOK_DATABASE_URL": state.database_url, "PREBOOK_FLOW_LIMITS": _flow_limits()} if with_database else {}
    return {
        **judge,
        **_url_variables("PREBOOK_URL", state.urls),
        **_url_variables("PREBOOK_INTERNAL_URL", state.internal_urls),
        "PREBOOK_CONSOLE_SECRETS": ",".join(state.signing_secrets[CONSOLE]),
        **_url_variables("PREBOOK_CONTROL", dict.fromkeys((*state.urls, CONSOLE), state.control_url)),
        "PREBOOK_OPERATOR_TOKEN": state.operator_token,
        "PREBOOK_CONTROL_TOKEN": state.control_token,
        "PREBOOK_MANAGEMENT_URL": state.management_url,
        "PREBOOK_MANAGEMENT_USER": state.management_user,
        "PREBOOK_MANAGEMENT_PASSWORD": state.management_password,
        "PREBOOK_AMQP_URL": state.amqp_url,
        "PREBOOK_STACK_INFO": json.dumps({"mode": state.mode, "broker": state.broker, "database": state.database}),
    }


def rider_callback_settings(origin: str) -> dict[str, str]:
    """Return the settings by which booking may call a rider's system at ``origin``, with a secret of its own."""
    return {RIDER_CALLBACK_HOSTS: origin, RIDER_CALLBACK_SECRETS: generate_secret()}


def _flow_limits() -> str:
    """Return the time limits of every flow as JSON, in seconds."""
    policies = read_policies(paths.couplings_file())
    limits = {
        name: {"deadline_s": policy.deadline_s, "timeout_s": policy.timeout_s} for name, policy in policies.items()
    }
    return json.dumps(limits)


def reader_url(account: str, options: SuiteOptions, stack: Stack) -> str:
    """Return the broker's URL for an account that is not a service: the archive reader or a subscriber."""
    return _with_credentials(stack.broker.amqp_url, broker_user(account), options.passwords[account], path=f"/{VHOST}")


def _service_environment(service: str, options: SuiteOptions, stack: Stack, proxies: Proxies) -> dict[str, str]:
    role = f"prebook_{service}"
    password = options.passwords[service]
    database = _via_proxy(stack.database.url, proxies.get(f"{service}-database"))
    nodes = [_via_proxy(url, proxies.get(f"{service}-broker"), n) for n, url in enumerate(stack.broker.amqp_urls)]
    given = {**os.environ, **options.settings}
    rest = {k: v for k, v in given.items() if k not in variable_names((*ADMIN_SETTINGS, *SUPERVISOR_SETTINGS))}
    rest.pop(RIDER_CALLBACK_SECRETS, None)
    if service != "booking":
        rest.pop(RIDER_CALLBACK_HOSTS, None)  # the others call no rider's system, and have no secrets for it
    secret_files = {
        f"PREBOOK_{PurePath(path).name.upper()}_FILE": str(secrets_dir(stack) / path)
        for path in options.key_ring.files()
        if PurePath(path).parts[0] == service
    }
    internal_urls = {n: _via_proxy(url, proxies.get(f"http-{n}")) for n, url in options.internal_urls.items()}
    return {
        "PREBOOK_COUPLINGS": str(paths.couplings_file()),
        "PREBOOK_SEED": str(options.seed),
        "PREBOOK_LOG_LEVEL": options.log_level,
        "PREBOOK_PEER_CONNECTION_SHARE": "1",  # all clients are on this machine, which is one peer
        **rest,
        **secret_files,
        **_url_variables("PREBOOK_INTERNAL_URL", internal_urls),
        "PREBOOK_HTTP_HOST": LOOPBACK,
        "PREBOOK_INTERNAL_HOST": LOOPBACK,
        "PREBOOK_DATABASE_URL": _with_credentials(database, role, password),
        "PREBOOK_AMQP_URL": ",".join(
            _with_credentials(node, broker_user(service), password, path=f"/{VHOST}") for node in nodes
        ),
        "PREBOOK_ALLOW_PLAN_OVERRIDE": str(options.allow_plan_override).lower(),
    }


def _url_variables(prefix: str, urls: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}_{service.upper()}": url for service, url in urls.items()}


def _with_credentials(url: str, user: str, password: str, path: str | None = None) -> str:
    """Return the URL with other credentials, and another path if given."""
    parts = urlsplit(url)
    _, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}", path=path or parts.path))


def _via_proxy(url: str, proxy: FaultProxy | None, index: int = 0) -> str:
    """Return the URL of the same server through a proxy; ``index``: position among the proxy's upstreams."""
    if proxy is None:
        return url
    parts = urlsplit(url)
    (host, port) = proxy.addresses[index]
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{host}:{port}"))
