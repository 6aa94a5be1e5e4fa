"""What breaking needs, from the environment. What is not there is no error: some faults are not available then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import aiohttp

from prebook.flows import PROCESSES
from prebook.lab.suite_client.broker_management import BrokerManagement, BrokerManagementError
from prebook.lab.suite_client.probe import HttpProbe
from prebook.lab.suite_client.settings import EnvironmentReader, InvalidEnvironment, parse_base_url, parse_non_empty
from prebook.lab.suite_client.supervisor import SupervisorClient, SupervisorError


@dataclass(frozen=True)
class FaultAccess:
    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    """Service -> base URL of its HTTP API."""
    supervisor_urls: Mapping[str, str]
    """Service -> base URL of the supervisor that owns its process."""
    control_token: str = field(repr=False)
    management: BrokerManagement | None = None
    amqp_url: str = field(default="", repr=False)
    """The broker, as an administrator, with the suite's virtual host; empty where it is not known."""

    def supervisor(self, service: str = "") -> SupervisorClient:
        """Of the supervisor that owns this process, or of any. Raises ControlRefused where there is none."""
        url = self.supervisor_urls.get(service) if service else next(iter(self.supervisor_urls.values()), None)
        if url is None:
            raise SupervisorError(f"no supervisor of {service or 'this suite'} is known; set PREBOOK_CONTROL_<SERVICE>")
        return SupervisorClient(self.session, url, self.control_token)

    def http_probe(self, service: str) -> HttpProbe:
        return HttpProbe(self.session, self.urls[service])

    @property
    def broker(self) -> BrokerManagement:
        """Raises BrokerRefused where it is not known."""
        if self.management is None:
            raise BrokerManagementError("the broker's management API is not known: PREBOOK_MANAGEMENT_URL is not set")
        return self.management

    @property
    def vhost(self) -> str:
        return unquote(urlsplit(self.amqp_url).path[1:]) or "/"


def read_fault_access(session: aiohttp.ClientSession, environ: Mapping[str, str]) -> FaultAccess:
    """Reads ``PREBOOK_URL_<SERVICE>``, ``PREBOOK_CONTROL_<SERVICE>``, ``PREBOOK_CONTROL_TOKEN``,
    ``PREBOOK_MANAGEMENT_URL``, ``_USER`` and ``_PASSWORD``, ``PREBOOK_AMQP_URL``; each may be missing.

    Raises WrongEnvironment where one is wrong.
    """
    reader = EnvironmentReader(environ)
    url = reader.read_optional("PREBOOK_MANAGEMENT_URL", parse_base_url)
    user, password = (
        reader.read_optional(f"PREBOOK_MANAGEMENT_{name}", parse_non_empty) for name in ("USER", "PASSWORD")
    )
    found = FaultAccess(
        session,
        urls=_read_per_service(reader, "PREBOOK_URL_"),
        supervisor_urls=_read_per_service(reader, "PREBOOK_CONTROL_"),
        control_token=reader.read_optional("PREBOOK_CONTROL_TOKEN", parse_non_empty) or "",
        management=BrokerManagement(session, url, user or "", password or "") if url else None,
        amqp_url=reader.read_optional("PREBOOK_AMQP_URL", parse_non_empty) or "",
    )
    if reader.problems:
        raise InvalidEnvironment(reader.problems)
    return found


def _read_per_service(reader: EnvironmentReader, prefix: str) -> dict[str, str]:
    given = {service: reader.read_optional(f"{prefix}{service.upper()}", parse_base_url) for service in PROCESSES}
    return {service: url for service, url in given.items() if url}
