"""Addresses of the suite, from PREBOOK_* variables; one error names every missing or invalid one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from prebook.devstack.errors import UserError
from prebook.flows import PROCESSES
from prebook.text_file import read_secret

REMEDY = (
    "run `prebook demo`, which starts its own suite; "
    "or start a suite with `prebook up`, then run `prebook load --quick`"
)
REQUIRED_SERVICES = ("booking", "notification")


class InvalidEnvironment(UserError):
    """Missing or invalid environment variables; ``problem`` has one line for each."""

    def __init__(self, problems: Collection[str]) -> None:
        lines = ["PREBOOK_* variables are missing or invalid:", *(f"  - {line}" for line in problems)]
        super().__init__("\n".join(lines), REMEDY)


class StackInfo(msgspec.Struct, frozen=True):
    """Broker, database and mode (such as ``local``) of the suite, as the report shows them."""

    mode: str
    broker: str
    database: str


@dataclass(frozen=True)
class SuiteAddresses:
    """Base URLs of the services' listeners, without a trailing slash; unknown services are absent."""

    public: Mapping[str, str]
    """Service -> listener of riders or operators."""
    internal: Mapping[str, str]
    """Service -> listener of services and tools."""
    console_secrets: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that sign calls to internal listeners."""
    operator_token: str = field(default="", repr=False)
    """Token of an operator at operations."""

    @property
    def operator_headers(self) -> dict[str, str]:
        """Headers of a request to operations."""
        return {"Authorization": f"Bearer {self.operator_token}", "Prebook-Operator": "lab"}


@dataclass(frozen=True)
class LabSettings:
    """Addresses of a running suite, and the stack that it runs on."""

    addresses: SuiteAddresses
    stack: StackInfo


def read_settings(environ: Mapping[str, str]) -> LabSettings:
    """Read the addresses that every run needs. Fault injection reads its own variables in ``faults.fault_access``.

    Raises:
        InvalidEnvironment: a required variable is missing, or any is invalid; the text names all of them.
    """
    reader = EnvironmentReader(environ)
    addresses = read_addresses(reader, public=("booking",), internal=REQUIRED_SERVICES)
    settings = LabSettings(addresses, reader.read("PREBOOK_STACK_INFO", parse_stack_info))
    if reader.problems:
        raise InvalidEnvironment(reader.problems)
    return settings


class EnvironmentReader:
    """Reader of single environment variables that collects problems instead of raising.

    A variable ``NAME`` is read from the file that ``NAME_FILE`` names, if that is set. Unlike
    ``prebook.runtime.environment``, which reads all settings of a service at once, it reads names built at run time.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], Any]) -> Any:
        """Return the parsed value, or None after a new entry in ``problems`` if the variable is missing or invalid."""
        try:
            return parse(self._raw_value(name))
        except KeyError:
            self.problems.append(f"{name} is not set; {EXPECTED_VALUES[parse]}")
        except (ValueError, OSError) as error:
            self.problems.append(f"{name}: {error}; {EXPECTED_VALUES[parse]}")
        return None

    def read_optional(self, name: str, parse: Callable[[str], Any]) -> Any:
        """Return the parsed value; None if the variable is unset or empty, or, with a new problem, if it is invalid."""
        is_set = self._environ.get(name) or self._environ.get(f"{name}_FILE")
        return self.read(name, parse) if is_set else None

    def _raw_value(self, name: str) -> str:
        path = self._environ.get(f"{name}_FILE")
        return read_secret(Path(path)) if path else self._environ[name]


def read_addresses(
    reader: EnvironmentReader, *, public: Collection[str] = (), internal: Collection[str] = ()
) -> SuiteAddresses:
    """Read PREBOOK_URL_<SERVICE>, PREBOOK_INTERNAL_URL_<SERVICE>, PREBOOK_CONSOLE_SECRETS, PREBOOK_OPERATOR_TOKEN.

    ``public`` and ``internal``: services whose URL is required.
    """
    return SuiteAddresses(
        public=read_urls(reader, "PREBOOK_URL", public),
        internal=read_urls(reader, "PREBOOK_INTERNAL_URL", internal),
        console_secrets=reader.read_optional("PREBOOK_CONSOLE_SECRETS", parse_secrets) or (),
        operator_token=reader.read_optional("PREBOOK_OPERATOR_TOKEN", parse_non_empty) or "",
    )


def read_urls(
    reader: EnvironmentReader, prefix: str, required: Collection[str] = (), *, names: Collection[str] = PROCESSES
) -> dict[str, str]:
    """Return the base URLs in the variables ``<prefix>_<NAME>`` by name; those that are not set are absent."""
    read = {name: reader.read if name in required else reader.read_optional for name in names}
    urls = {name: read_url(f"{prefix}_{name.upper()}", parse_base_url) for name, read_url in read.items()}
    return {name: url for name, url in urls.items() if url}


def parse_secrets(raw: str) -> tuple[str, ...]:
    """Return comma-separated secrets."""
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def parse_base_url(raw: str) -> str:
    """Return an HTTP or HTTPS base URL without its trailing slash. Raises ValueError."""
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{raw!r} is not an HTTP address")
    return raw.rstrip("/")


def parse_non_empty(raw: str) -> str:
    """Return the text without surrounding white space. Raises ValueError if nothing is left."""
    if not raw.strip():
        raise ValueError("is empty")
    return raw.strip()


def parse_stack_info(raw: str) -> StackInfo:
    """Decode the JSON that the launcher of the suite passes on. Raises msgspec.DecodeError, a ValueError."""
    return msgspec.json.decode(raw, type=StackInfo)


EXPECTED_VALUES: Mapping[Callable[[str], Any], str] = {
    parse_base_url: "expected a base URL such as http://127.0.0.1:8010",
    parse_non_empty: "expected the bearer token of the supervisor's control API",
    parse_secrets: "expected the console's secrets, separated by commas",
    parse_stack_info: 'expected JSON such as {"mode": "local", "broker": "...", "database": "..."}',
}
