"""World: a test fails by what a service does in the background, and by a state that is not reached."""

import asyncio
from typing import Any

import pytest

from prebook.flows import ServiceName
from prebook.messaging.handlers import Handlers
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.runtime.service import Service, ServiceExtensions
from prebook.testing.world import World


def service(**parts: Any) -> Service[Any]:
    return Service(ServiceName("stub"), lambda _: Handlers(), SqlUnitOfWork, **parts)


async def test_the_error_of_a_loop_is_raised_at_the_end() -> None:
    async def fail() -> None:
        raise LookupError("no such row")

    failing = service(extensions=lambda _: ServiceExtensions(loops={"failing": fail}))
    with pytest.raises(LookupError, match="no such row"):
        async with World({"stub": (failing, dict)}):
            await asyncio.sleep(0)


async def test_a_state_that_is_not_reached_in_time_is_shown() -> None:
    async with World({"stub": (service(), lambda: {"rides": 1})}) as world:
        with pytest.raises(AssertionError, match=r"stub has \{'rides': 1\}"):
            await world.wait_for_state("stub", lambda state: state["rides"] == 2, timeout_s=0.01)
