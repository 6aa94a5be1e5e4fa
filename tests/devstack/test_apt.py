"""Concurrent installations of the broker by apt exclude each other."""

import asyncio
from pathlib import Path

import pytest

from prebook.devstack.broker.apt import acquire_install_lock
from prebook.devstack.errors import UserError


async def test_only_one_installation_runs_at_a_time(tmp_path: Path) -> None:
    running = 0
    max_running = 0

    async def install() -> None:
        nonlocal running, max_running
        async with acquire_install_lock(tmp_path):
            running += 1
            max_running = max(max_running, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(install() for _ in range(3)))
    assert max_running == 1


async def test_an_installation_that_does_not_end_is_reported_with_a_remedy(tmp_path: Path) -> None:
    async with acquire_install_lock(tmp_path):
        with pytest.raises(UserError, match="another installation") as error:
            async with acquire_install_lock(tmp_path, timeout_s=0.05):
                pass
    assert "apt-get install" in error.value.remedy
