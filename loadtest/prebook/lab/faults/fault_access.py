"""What breaking needs, from the environment. What is not there is no error: some faults are not available then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import aiohttp

from prebook.flows import PROCESSES
from prebook.lab.suite_client.broker_management import BrokerRefused, Management
from prebook.lab.suite_client.probe import Probe
from prebook.lab.suite_client.settings import Reader, WrongEnvironment, base_url, not_empty
from prebook.lab.suite_client.supervisor import Control, ControlRefused


@dataclass(frozen=True)
class Levers:
    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    """Service -> base URL of its HTTP API."""
    controls: Mapping[str, str]
    """Service -> base URL of the supervisor that owns its process."""
    token: str = field(repr=False)
    management: Management | None = None
    amqp_url: str = field(default="", repr=False)
    """The broker, as an administrator, with the suite's virtual host; empty where it is not known."""

    def control(self, service: str = "") -> Control:
        """Of the supervisor that owns this process, or of any. Raises ControlRefused where there is none."""
        url = self.controls.get(service) if service else next(iter(self.controls.values()), None)
        if url is None:
            raise ControlRefused(f"no supervisor of {service or 'this suite'} is known; set PREBOOK_CONTROL_<SERVICE>")
        return Control(self.session, url, self.token)

    def probe(self, service: str) -> Probe:
        return Probe(self.session, self.urls[service])

    @property
    def broker(self) -> Management:
        """Raises BrokerRefused where it is not known."""
        if self.management is None:
            raise BrokerRefused("the broker's management API is not known: PREBOOK_MANAGEMENT_URL is not set")
        return self.management

    @property
    def vhost(self) -> str:
        return unquote(urlsplit(self.amqp_url).path[1:]) or "/"


def levers(session: aiohttp.ClientSession, environ: Mapping[str, str]) -> Levers:
    """Reads ``PREBOOK_URL_<SERVICE>``, ``PREBOOK_CONTROL_<SERVICE>``, ``PREBOOK_CONTROL_TOKEN``,
    ``PREBOOK_MANAGEMENT_URL``, ``_USER`` and ``_PASSWORD``, ``PREBOOK_AMQP_URL``; each may be missing.

    Raises WrongEnvironment where one is wrong.
    """
    reader = Reader(environ)
    url = reader.maybe("PREBOOK_MANAGEMENT_URL", base_url)
    user, password = (reader.maybe(f"PREBOOK_MANAGEMENT_{name}", not_empty) for name in ("USER", "PASSWORD"))
    found = Levers(
        session,
        urls=_of_each(reader, "PREBOOK_URL_"),
        controls=_of_each(reader, "PREBOOK_CONTROL_"),
        token=reader.maybe("PREBOOK_CONTROL_TOKEN", not_empty) or "",
        management=Management(session, url, user or "", password or "") if url else None,
        amqp_url=reader.maybe("PREBOOK_AMQP_URL", not_empty) or "",
    )
    if reader.problems:
        raise WrongEnvironment(reader.problems)
    return found


def _of_each(reader: Reader, prefix: str) -> dict[str, str]:
    given = {service: reader.maybe(f"{prefix}{service.upper()}", base_url) for service in PROCESSES}
    return {service: url for service, url in given.items() if url}
