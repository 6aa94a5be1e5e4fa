"""What each process of a local suite is told through its environment."""

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from prebook.devstack.errors import Trouble
from prebook.devstack.ports import LOOPBACK
from prebook.devstack.proxies.proxy import Address, Link
from prebook.devstack.servers import Parts
from prebook.devstack.suite_state import Whereabouts
from prebook.devstack.supervisor.contract import ProcessSpec
from prebook.flows import PROCESSES, SERVICES
from prebook.messaging.addresses import ARCHIVIST, VHOST, user
from prebook.runtime import paths
from prebook.topology.access import ACCOUNTS

OURS_ALONE = ("DATABASE_URL", "AMQP_URL", "MANAGEMENT_URL", "MANAGEMENT_USER", "MANAGEMENT_PASSWORD")
"""Administrators' access, and the tokens of the supervisor: no service gets these."""
SUPERVISORS = ("CONTROL_TOKEN", "ROLE_PASSWORDS")


USUAL_PORTS = {"amqp": 5672, "postgresql+asyncpg": 5432}
"""Of parts that somebody else runs."""
NODES = ("1", "3")
LINKS_WANTED = frozenset({"1", "true", "yes", "on"})
Ways = Mapping[str, Link]
NO_WAYS: Ways = {}


def drawn() -> dict[str, str]:
    """A password for each service and for who reads the archive, for this run only."""
    return {account: secrets.token_urlsafe(24) for account in ACCOUNTS}


def nodes_wanted(env: Mapping[str, str]) -> int:
    """PREBOOK_BROKER_NODES. Raises Trouble."""
    given = env.get("PREBOOK_BROKER_NODES") or "1"
    if given not in NODES:
        raise Trouble(f"PREBOOK_BROKER_NODES is {given!r}", f"set it to {' or '.join(NODES)}, or leave it out")
    return int(given)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """``ports``: of the services, in the order of PROCESSES, of the control API, and of each further replica."""

    ports: tuple[int, ...]
    allow_plan_override: bool = True
    seed: int = 7
    log_level: str = "info"
    links: bool = field(default_factory=lambda: os.environ.get("PREBOOK_LINKS", "") in LINKS_WANTED)
    """Between the services and what they use stand links that the control API can spoil."""
    replicas: int = 1
    """Of every service; the first has the port that others know, the further ones consume and relay."""
    broker_nodes: int = field(default_factory=lambda: nodes_wanted(os.environ))
    settings: Mapping[str, str] = field(default_factory=dict)
    """PREBOOK_* variables that every service is given, over our own environment."""
    passwords: Mapping[str, str] = field(default_factory=drawn, repr=False)
    callback_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    control_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def urls(self) -> dict[str, str]:
        return {service: f"http://{LOOPBACK}:{port}" for service, port in zip(PROCESSES, self.ports, strict=False)}

    @property
    def control_port(self) -> int:
        return self.ports[len(PROCESSES)]

    @property
    def further(self) -> dict[str, tuple[str, int]]:
        """Name -> (service, port) of each further replica. Operations has none: it leads replays, and one is enough."""
        names = [(f"{service}-{n}", service) for n in range(2, self.replicas + 1) for service in SERVICES]
        ports = self.ports[len(PROCESSES) + 1 :]
        return {name: (service, port) for (name, service), port in zip(names, ports, strict=True)}


def targets(terms: Terms, parts: Parts) -> dict[str, Sequence[Address]]:
    """Where each link leads, by its name; none unless the terms want them."""
    found: dict[str, Sequence[Address]] = {}
    for service in PROCESSES if terms.links else ():
        found[f"{service}-broker"] = [_address(url) for url in parts.broker.amqp_urls]
        found[f"{service}-database"] = [_address(parts.database.url)]
        found[f"http-{service}"] = [_address(terms.urls[service])]
    return found


def specs(terms: Terms, parts: Parts, logs: Path, ways: Ways = NO_WAYS) -> list[ProcessSpec]:
    """One process for each service, which goes by the links where there are any, and for each further replica."""
    first = {service: (service, terms.ports[number]) for number, service in enumerate(PROCESSES)}
    return [
        ProcessSpec(
            name=name,
            args=(sys.executable, "-m", f"prebook.{service}"),
            env={**_environment(service, terms, parts, ways), "PREBOOK_HTTP_PORT": str(port)},
            ready_url=f"http://{LOOPBACK}:{port}/readyz",
            log=logs / f"{name}.log",
        )
        for name, (service, port) in {**first, **terms.further}.items()
    ]


def served(env: Mapping[str, str]) -> dict[str, str]:
    """For the one service of a container: what the container was given, without what is the supervisor's."""
    given = {k: v for k, v in env.items() if k not in _names(SUPERVISORS)}
    return {"PREBOOK_COUPLINGS": str(paths.couplings_toml())} | given


def loadtest(suite: Whereabouts) -> dict[str, str]:
    """What the campaign needs to reach and to break the suite."""
    return {
        **_urls(suite.urls),
        **{f"PREBOOK_CONTROL_{service.upper()}": suite.control_url for service in suite.urls},
        "PREBOOK_CONTROL_TOKEN": suite.control_token,
        "PREBOOK_MANAGEMENT_URL": suite.management_url,
        "PREBOOK_MANAGEMENT_USER": suite.management_user,
        "PREBOOK_MANAGEMENT_PASSWORD": suite.management_password,
        "PREBOOK_AMQP_URL": suite.amqp_url,
        "PREBOOK_STACK_INFO": json.dumps({"mode": suite.mode, "broker": suite.broker, "database": suite.database}),
    }


def archive_url(terms: Terms, parts: Parts) -> str:
    """The broker, for who reads the archive."""
    return _as(parts.broker.amqp_url, user(ARCHIVIST), terms.passwords[ARCHIVIST], path=f"/{VHOST}")


def _environment(service: str, terms: Terms, parts: Parts, ways: Ways) -> dict[str, str]:
    role, password = f"prebook_{service}", terms.passwords[service]
    database = _through(parts.database.url, ways.get(f"{service}-database"))
    nodes = [_through(url, ways.get(f"{service}-broker"), n) for n, url in enumerate(parts.broker.amqp_urls)]
    rest = {k: v for k, v in os.environ.items() if k not in _names((*OURS_ALONE, *SUPERVISORS))}
    return {
        "PREBOOK_COUPLINGS": str(paths.couplings_toml()),
        "PREBOOK_SEED": str(terms.seed),
        "PREBOOK_LOG_LEVEL": terms.log_level,
        **rest,
        **terms.settings,
        **_urls({name: _through(url, ways.get(f"http-{name}")) for name, url in terms.urls.items()}),
        "PREBOOK_HTTP_HOST": LOOPBACK,
        "PREBOOK_DATABASE_URL": _as(database, role, password),
        "PREBOOK_AMQP_URL": ",".join(_as(node, user(service), password, path=f"/{VHOST}") for node in nodes),
        "PREBOOK_CALLBACK_SECRETS": terms.callback_secret,
        "PREBOOK_ALLOW_PLAN_OVERRIDE": str(terms.allow_plan_override).lower(),
    }


def _urls(urls: Mapping[str, str]) -> dict[str, str]:
    return {f"PREBOOK_URL_{service.upper()}": url for service, url in urls.items()}


def _as(url: str, user: str, password: str, path: str | None = None) -> str:
    """The same server for somebody else."""
    parts = urlsplit(url)
    _, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}", path=path or parts.path))


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or LOOPBACK, parts.port or USUAL_PORTS[parts.scheme]


def _through(url: str, link: Link | None, number: int = 0) -> str:
    """The same server, by way of the link; ``number`` of the targets that the link has."""
    if link is None:
        return url
    parts, (host, port) = urlsplit(url), link.addresses[number]
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{host}:{port}"))


def _names(settings: tuple[str, ...]) -> frozenset[str]:
    return frozenset(f"PREBOOK_{name}{suffix}" for name in settings for suffix in ("", "_FILE"))
