"""Several commands that start at once on a machine without a broker."""

import asyncio
from pathlib import Path

import pytest

from prebook.devstack.broker.apt import acquire_install_lock
from prebook.devstack.errors import UserError


async def test_of_several_installations_one_at_a_time_is_made(tmp_path: Path) -> None:
    within = 0
    most = 0

    async def install() -> None:
        nonlocal within, most
        async with acquire_install_lock(tmp_path):
            within += 1
            most = max(most, within)
            await asyncio.sleep(0)
            within -= 1

    await asyncio.gather(*(install() for _ in range(3)))
    assert most == 1


async def test_one_that_does_not_end_is_told_with_a_way_out(tmp_path: Path) -> None:
    async with acquire_install_lock(tmp_path):
        with pytest.raises(UserError, match="another installation") as error:
            async with acquire_install_lock(tmp_path, timeout_s=0.05):
                pass
    assert "apt-get install" in error.value.remedy
