"""Search for RabbitMQ's programs on this machine."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WRAPPER_DIRS = frozenset({Path("/usr/sbin"), Path("/sbin")})
"""Debian's scripts there switch to the packaged service's user; the real ones are in /usr/lib/rabbitmq/bin."""
COMMON_DIRS = (
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin",
)


@dataclass(frozen=True)
class RabbitInstallation:
    """Programs of an installed RabbitMQ. ``path`` is a PATH on which the node finds Erlang."""

    server: Path
    epmd: Path
    path: str


def find_rabbitmq(env: Mapping[str, str] = os.environ) -> RabbitInstallation | None:
    """Search $RABBITMQ_HOME, the usual folders of packages and PATH. Return None if RabbitMQ or Erlang is missing."""
    for folder in _candidate_dirs(env):
        server = folder / "rabbitmq-server"
        if os.access(server, os.X_OK) and (found := _find_erlang(server, env)):
            return found
    return None


def _candidate_dirs(env: Mapping[str, str]) -> Iterator[Path]:
    if given := env.get("RABBITMQ_HOME"):
        yield from (Path(given) / "sbin", Path(given) / "bin")
    yield from map(Path, COMMON_DIRS)
    if on_path := shutil.which("rabbitmq-server", path=env.get("PATH")):
        folder = Path(on_path).parent
        yield from (folder,) if folder not in WRAPPER_DIRS else ()


def _find_erlang(server: Path, env: Mapping[str, str]) -> RabbitInstallation | None:
    beside = [str(folder / "bin") for folder in server.parents if (folder / "bin" / "erl").exists()]  # Homebrew's
    path = os.pathsep.join([*beside, env.get("PATH", ""), os.defpath])
    erl = shutil.which("erl", path=path)
    epmd = _find_epmd(Path(erl).resolve(), path) if erl else None
    return RabbitInstallation(server, epmd, path) if epmd else None


def _find_epmd(erl: Path, path: str) -> Path | None:
    """Find epmd on PATH or in Erlang's own ``<root>/erts-*/bin``, for ``<root>/bin/erl``; None if it is absent."""
    if on_path := shutil.which("epmd", path=path):
        return Path(on_path)
    return next(erl.parents[1].glob("erts-*/bin/epmd"), None)
