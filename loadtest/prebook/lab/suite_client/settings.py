"""Where the suite is, from the environment; everything missing or wrong is named at once."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from prebook.flows import PROCESSES
from prebook.lab.errors import LabError

REMEDY = (
    "Let a suite be started for it: `prebook demo`. Or run it against the suite that `prebook up` has started: "
    "`prebook load --quick`."
)
REQUIRED_SERVICES = ("booking", "notification")


class InvalidEnvironment(LabError):
    """Text for the person who started the campaign, one line for each variable."""

    def __init__(self, problems: Collection[str]) -> None:
        super().__init__("\n".join(["the campaign cannot start:", *(f"  - {line}" for line in problems), REMEDY]))


class StackInfo(msgspec.Struct, frozen=True):
    """What the suite runs on, as the report tells it."""

    mode: str
    broker: str
    database: str


@dataclass(frozen=True)
class LabSettings:
    urls: Mapping[str, str]
    """Process -> base URL of its HTTP API, no slash at its end; of all that are known."""
    stack: StackInfo


def read_settings(environ: Mapping[str, str]) -> LabSettings:
    """What breaking needs is read by ``faults.levers``, and may be missing. Raises WrongEnvironment."""
    reader = EnvironmentReader(environ)
    read = {name: reader.read if name in REQUIRED_SERVICES else reader.read_optional for name in PROCESSES}
    urls = {name: take(f"PREBOOK_URL_{name.upper()}", parse_base_url) for name, take in read.items()}
    stack = reader.read("PREBOOK_STACK_INFO", parse_stack_info)
    settings = LabSettings({name: url for name, url in urls.items() if url}, stack)
    if reader.problems:
        raise InvalidEnvironment(reader.problems)
    return settings


class EnvironmentReader:
    """Takes variables by name, or the file that <NAME>_FILE names, and keeps what was wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], Any]) -> Any:
        """The parsed value; None where it was wrong, and then there is a problem more."""
        try:
            return parse(self._raw_value(name))
        except KeyError:
            self.problems.append(f"{name} is not set; {EXPECTED_VALUES[parse]}")
        except (ValueError, OSError) as wrong:
            self.problems.append(f"{name}: {wrong}; {EXPECTED_VALUES[parse]}")
        return None

    def read_optional(self, name: str, parse: Callable[[str], Any]) -> Any:
        """The same, and None without a problem where it is not set or empty."""
        given = self._environ.get(name) or self._environ.get(f"{name}_FILE")
        return self.read(name, parse) if given else None

    def _raw_value(self, name: str) -> str:
        path = self._environ.get(f"{name}_FILE")
        return Path(path).read_text().strip() if path else self._environ[name]


def parse_base_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{raw!r} is no HTTP address")
    return raw.rstrip("/")


def parse_non_empty(raw: str) -> str:
    if not raw.strip():
        raise ValueError("is empty")
    return raw.strip()


def parse_stack_info(raw: str) -> StackInfo:
    return msgspec.json.decode(raw, type=StackInfo)


EXPECTED_VALUES: Mapping[Callable[[str], Any], str] = {
    parse_base_url: "expected a base URL such as http://127.0.0.1:8010",
    parse_non_empty: "expected the bearer token of the supervisor's control API",
    parse_stack_info: 'expected JSON such as {"mode": "local", "broker": "...", "database": "..."}',
}
