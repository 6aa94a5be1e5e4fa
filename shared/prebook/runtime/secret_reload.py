"""Reload of secrets: a running service notices that the files of its secrets have changed, and uses the new ones."""

import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from prebook.runtime.environment import BadSettings
from prebook.runtime.settings import RELOADABLE_SECRETS, ServiceSettings, read_settings

RELOAD_INTERVAL_S = 1.0
"""Seconds between two looks at the files. A mounted volume gives no notification in every container engine."""
FileVersion = tuple[int, int, int] | None
log = structlog.get_logger()


class SecretReloader:
    """Looks at the files of the reloadable secrets. Secrets that are given as values never change."""

    def __init__(self, settings: ServiceSettings, env: Mapping[str, str] = os.environ) -> None:
        """``settings`` get the new secrets."""
        self._settings = settings
        self._env = env
        variables = [f"PREBOOK_{name.upper()}_FILE" for name in RELOADABLE_SECRETS]
        self._files = [Path(env[variable]) for variable in variables if env.get(variable)]
        self._versions = self._look()

    async def reload_changed(self) -> None:
        """Use the secrets of files that have changed since the last call; wrong ones are logged and not used."""
        versions = self._look()
        if versions == self._versions:
            return
        self._versions = versions
        try:
            settings, _ = read_settings(self._env)
        except BadSettings as error:
            log.warning("secrets not reloaded: correct the file; the earlier ones stay in use", error=str(error))
            return
        for name in RELOADABLE_SECRETS:
            setattr(self._settings, name, getattr(settings, name))
        log.info("secrets reloaded", files=len(self._files))

    def _look(self) -> list[FileVersion]:
        return [_version_of(path) for path in self._files]


def _version_of(path: Path) -> FileVersion:
    """Return what changes when a file is written or replaced; None if it cannot be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
