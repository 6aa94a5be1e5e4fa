"""Parts that somebody else runs: looked at, never started or stopped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prebook.devstack.broker import probe
from prebook.devstack.database import probe
from prebook.devstack.errors import Trouble
from prebook.devstack.servers import Broker, Database, Member

MEANING = {
    "PREBOOK_DATABASE_URL": "postgresql+asyncpg://admin:password@host:port/database",
    "PREBOOK_AMQP_URL": "amqp://admin:password@host:port/vhost",
    "PREBOOK_MANAGEMENT_URL": "http://host:15672",
}


def setting(name: str, env: Mapping[str, str]) -> str:
    """From the variable, or from the file that <NAME>_FILE names. Raises Trouble."""
    remedy = f"set {name} to {MEANING[name]}, or {name}_FILE to a file that holds it"
    try:
        file = env.get(f"{name}_FILE")
        value = Path(file).read_text().strip() if file else env.get(name, "")
    except OSError as error:
        raise Trouble(f"{name}_FILE cannot be read: {error}", remedy) from error
    if not value:
        raise Trouble(f"{name} is missing", remedy)
    return value


class ExternalBroker:
    """PREBOOK_AMQP_URL and PREBOOK_MANAGEMENT_URL; name and password are those of the AMQP URL."""

    members: Sequence[Member] = ()

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    async def start(self) -> Broker:
        amqp, management = setting("PREBOOK_AMQP_URL", self._env), setting("PREBOOK_MANAGEMENT_URL", self._env)
        who = urlsplit(amqp)
        return await probe.existing(amqp, management, unquote(who.username or ""), unquote(who.password or ""))

    async def stop(self) -> None:
        """Not ours to stop."""


class ExternalDatabase:
    """PREBOOK_DATABASE_URL."""

    members: Sequence[Member] = ()

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    async def start(self) -> Database:
        return await probe.existing(setting("PREBOOK_DATABASE_URL", self._env))

    async def stop(self) -> None:
        """Not ours to stop."""
