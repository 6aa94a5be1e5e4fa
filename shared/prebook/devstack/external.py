"""External broker and database: probed, never started or stopped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prebook.devstack.broker.probe import probe_external_broker
from prebook.devstack.database.probe import probe_external_database
from prebook.devstack.errors import UserError
from prebook.devstack.servers import Broker, BrokerServer, Database, DatabaseServer, ServerProcess
from prebook.text_file import read_secret

EXPECTED_FORMATS = {
    "PREBOOK_DATABASE_URL": "postgresql+asyncpg://admin:password@host:port/database",
    "PREBOOK_AMQP_URL": "amqp://admin:password@host:port/vhost",
    "PREBOOK_MANAGEMENT_URL": "http://host:15672",
}


def read_setting(name: str, env: Mapping[str, str]) -> str:
    """Read a variable, or the file that <NAME>_FILE names. Raises UserError."""
    remedy = f"set {name} to {EXPECTED_FORMATS[name]}, or {name}_FILE to a file that holds it"
    try:
        file = env.get(f"{name}_FILE")
        value = read_secret(Path(file)) if file else env.get(name, "")
    except OSError as error:
        raise UserError(f"{name}_FILE cannot be read: {error}", remedy) from error
    if not value:
        raise UserError(f"{name} is missing", remedy)
    return value


class ExternalBroker(BrokerServer):
    """The broker of PREBOOK_AMQP_URL and PREBOOK_MANAGEMENT_URL, with name and password of the AMQP URL."""

    processes: Sequence[ServerProcess] = ()

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    async def start(self) -> Broker:
        amqp = read_setting("PREBOOK_AMQP_URL", self._env)
        management = read_setting("PREBOOK_MANAGEMENT_URL", self._env)
        who = urlsplit(amqp)
        return await probe_external_broker(amqp, management, unquote(who.username or ""), unquote(who.password or ""))

    async def stop(self) -> None:
        """Leave the server running, because the suite has not started it."""


class ExternalDatabase(DatabaseServer):
    """The database of PREBOOK_DATABASE_URL."""

    processes: Sequence[ServerProcess] = ()

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    async def start(self) -> Database:
        return await probe_external_database(read_setting("PREBOOK_DATABASE_URL", self._env))

    async def stop(self) -> None:
        """Leave the server running, because the suite has not started it."""
