"""Secrets are reloaded when their files change."""

import asyncio
from pathlib import Path

import pytest
import structlog

from prebook.devstack.filesystem import replace_file
from prebook.patterns.signature import generate_secret
from prebook.runtime.secret_reload import SecretReloader
from prebook.runtime.settings import read_settings
from tests.runtime.test_settings import VALID


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "signing_secrets"
    replace_file(path, generate_secret())
    return path


@pytest.fixture
def env(secret_file: Path) -> dict[str, str]:
    given = {name: value for name, value in VALID.items() if name != "PREBOOK_SIGNING_SECRETS"}
    return {**given, "PREBOOK_SIGNING_SECRETS_FILE": str(secret_file)}


async def test_new_secrets_are_used_once_their_file_is_replaced(env: dict[str, str], secret_file: Path) -> None:
    settings, _ = read_settings(env)
    reloader = SecretReloader(settings, env)
    first = settings.signing_secrets
    await reloader.reload_changed()
    assert settings.signing_secrets is first
    new = (generate_secret(), *first)
    replace_file(secret_file, ",".join(new))
    with structlog.testing.capture_logs() as lines:
        await reloader.reload_changed()
        await reloader.reload_changed()
    assert settings.signing_secrets == new
    assert [line["event"] for line in lines] == ["secrets reloaded"]


@pytest.mark.parametrize("text", ["", "short", "whsec_!"])
async def test_wrong_secrets_are_logged_and_not_used(env: dict[str, str], secret_file: Path, text: str) -> None:
    settings, _ = read_settings(env)
    reloader = SecretReloader(settings, env)
    first = settings.signing_secrets
    replace_file(secret_file, text)
    with structlog.testing.capture_logs() as lines:
        await reloader.reload_changed()
        await reloader.reload_changed()
    assert settings.signing_secrets == first
    (line,) = lines
    assert "PREBOOK_SIGNING_SECRETS" in line["error"]
    good = generate_secret()
    replace_file(secret_file, good)
    await reloader.reload_changed()
    assert settings.signing_secrets == (good,)


async def test_a_file_that_is_away_changes_nothing(env: dict[str, str], secret_file: Path) -> None:
    settings, _ = read_settings(env)
    reloader = SecretReloader(settings, env)
    first = settings.signing_secrets
    await asyncio.to_thread(secret_file.unlink)
    await reloader.reload_changed()
    assert settings.signing_secrets == first
