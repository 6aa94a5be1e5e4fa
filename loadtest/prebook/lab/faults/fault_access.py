"""Access to supervisors and broker for fault injection. Missing variables only make some faults unavailable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import aiohttp

from prebook.flows import CONSOLE, PROCESSES
from prebook.lab.suite_client.broker_management import BrokerManagement, BrokerManagementError
from prebook.lab.suite_client.probe import HttpProbe
from prebook.lab.suite_client.settings import (
    EnvironmentReader,
    InvalidEnvironment,
    SuiteAddresses,
    parse_base_url,
    parse_non_empty,
    read_addresses,
    read_urls,
)
from prebook.lab.suite_client.supervisor import SupervisorClient, SupervisorError

OWNERS = (*PROCESSES, CONSOLE)
"""Names in the variables of control APIs."""


@dataclass(frozen=True)
class FaultAccess:
    """Addresses and credentials by which faults are injected and observed."""

    session: aiohttp.ClientSession
    addresses: SuiteAddresses
    supervisor_urls: Mapping[str, str]
    """Service -> base URL of the supervisor that owns its process; for the console, that of servers and proxies."""
    control_tokens: Mapping[str, str] = field(repr=False)
    """Key of ``supervisor_urls`` -> token of that supervisor."""
    management: BrokerManagement | None = None
    amqp_url: str = field(default="", repr=False)
    """Broker URL with an administrator's credentials and the suite's virtual host; empty if unknown."""

    def supervisor(self, owned: str = CONSOLE) -> SupervisorClient:
        """Return a client of the supervisor that owns a service, or of the console. Raises SupervisorError.

        The console owns broker, database and fault proxies.
        """
        if owned not in self.supervisor_urls:
            raise SupervisorError(f"no supervisor of {owned} is known; set PREBOOK_CONTROL_{owned.upper()}")
        return SupervisorClient(self.session, self.supervisor_urls[owned], self.control_tokens.get(owned, ""))

    def http_probe(self, service: str) -> HttpProbe:
        """Return a probe of the service's health endpoint."""
        return HttpProbe(self.session, self.addresses.internal[service])

    @property
    def broker(self) -> BrokerManagement:
        """Client of the broker's management API. Raises BrokerManagementError if its address is unknown."""
        if self.management is None:
            raise BrokerManagementError("the broker's management API is unknown; set PREBOOK_MANAGEMENT_URL")
        return self.management

    @property
    def vhost(self) -> str:
        """Virtual host of the suite, unescaped."""
        return unquote(urlsplit(self.amqp_url).path[1:]) or "/"


def read_fault_access(session: aiohttp.ClientSession, environ: Mapping[str, str]) -> FaultAccess:
    """Read the addresses and credentials for fault injection; every variable is optional.

    The variables are those of ``read_addresses``, ``PREBOOK_CONTROL_<SERVICE>`` and ``PREBOOK_CONTROL_CONSOLE``,
    ``PREBOOK_CONTROL_TOKEN``, or ``PREBOOK_CONTROL_TOKEN_<SERVICE>`` where each supervisor has its own,
    ``PREBOOK_MANAGEMENT_URL``, ``_USER`` and ``_PASSWORD``, ``PREBOOK_AMQP_URL``.

    Raises:
        InvalidEnvironment: a variable has an invalid value; the text names all of them.
    """
    reader = EnvironmentReader(environ)
    url = reader.read_optional("PREBOOK_MANAGEMENT_URL", parse_base_url)
    user, password = (
        reader.read_optional(f"PREBOOK_MANAGEMENT_{name}", parse_non_empty) for name in ("USER", "PASSWORD")
    )
    access = FaultAccess(
        session,
        addresses=read_addresses(reader),
        supervisor_urls=read_urls(reader, "PREBOOK_CONTROL", names=OWNERS),
        control_tokens=_read_control_tokens(reader),
        management=BrokerManagement(session, url, user or "", password or "") if url else None,
        amqp_url=reader.read_optional("PREBOOK_AMQP_URL", parse_non_empty) or "",
    )
    if reader.problems:
        raise InvalidEnvironment(reader.problems)
    return access


def _read_control_tokens(reader: EnvironmentReader) -> dict[str, str]:
    common = reader.read_optional("PREBOOK_CONTROL_TOKEN", parse_non_empty) or ""
    own = {
        service: reader.read_optional(f"PREBOOK_CONTROL_TOKEN_{service.upper()}", parse_non_empty) for service in OWNERS
    }
    return {service: token or common for service, token in own.items()}
