"""A whole suite whose links are spoiled under load: rides settle all the same, and nothing is lost or doubled."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

import asyncpg
import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.runtime.supervisor.spec import LinkInfo, LinkState
from tests.conditions import eventually
from tests.integration.books import Books, every
from tests.integration.faults import offered
from tests.integration.riders import Riders, pure
from tests.integration.suite import Suite, started

pytestmark = pytest.mark.real
PLANS = [pure(coupling) for coupling in Coupling]
OF_PRICING = ("pricing-broker", "pricing-database", "http-pricing")
FAULTS = [state for state in LinkState if state is not LinkState.OPEN]
FOR_S = 2.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with started({"PREBOOK_LINKS": "1"}, tmp_path_factory.mktemp("linked") / "home") as suite:
        yield suite


@pytest.fixture
async def books(suite: Suite) -> AsyncIterator[Books]:
    connection = await asyncpg.connect(suite.where.database_url.replace("+asyncpg", "", 1))
    yield Books(connection)
    await connection.close()


@pytest.fixture
async def riders(suite: Suite) -> AsyncIterator[Riders]:
    async with httpx.AsyncClient(base_url=suite.where.urls["booking"], timeout=30, trust_env=False) as http:
        yield Riders(http)


@pytest.fixture
async def control(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    bearer = {"Authorization": f"Bearer {suite.where.control_token}"}
    async with httpx.AsyncClient(base_url=suite.where.control_url, headers=bearer, trust_env=False) as http:
        yield http


async def _links(control: httpx.AsyncClient) -> dict[str, LinkInfo]:
    answer = await control.get("/links")
    return {link.name: link for link in msgspec.json.decode(answer.content, type=list[LinkInfo])}


async def _is_whole(control: httpx.AsyncClient, name: str) -> bool:
    return (await _links(control))[name].state is LinkState.OPEN


async def test_the_services_go_by_the_links(riders: Riders, books: Books, control: httpx.AsyncClient) -> None:
    assert every(await books.add_up(await riders.several(PLANS)), "confirmed")
    links = await _links(control)
    assert set(OF_PRICING) <= set(links)
    assert all(links[name].connections for name in OF_PRICING), links


@pytest.mark.parametrize("fault", FAULTS)
async def test_pricing_survives_what_its_links_do(
    riders: Riders, books: Books, control: httpx.AsyncClient, fault: LinkState
) -> None:
    async with offered(riders, PLANS, again=True) as stream:
        for name in OF_PRICING:
            told = await control.post(f"/links/{name}/{fault}", json={"for_s": FOR_S, "delay_ms": 200})
            assert told.status_code == 200, told.text
            assert (await _links(control))[name].state is fault
            await eventually(partial(_is_whole, control, name), FOR_S + 5)
    states = await books.add_up(stream.ids, late=True)
    assert set(states.values()) <= {"confirmed", "failed", "expired"}
    assert every(await books.add_up(await riders.several(PLANS)), "confirmed"), "and all is well afterwards"
