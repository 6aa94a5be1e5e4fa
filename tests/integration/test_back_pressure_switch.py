"""Back pressure is switched while booking runs, by the client of the lab and by the command line."""

import aiohttp
import msgspec
import pytest

from prebook.contracts.back_pressure import BackPressure
from prebook.flows import CONSOLE
from prebook.lab.suite_client.services import SuiteClient
from prebook.lab.suite_client.settings import SuiteAddresses
from tests.integration.suite import Suite

pytestmark = pytest.mark.real


def shown(suite: Suite) -> BackPressure:
    """Return back pressure as the command line shows it."""
    command = suite.prebook("load", "back-pressure", "--json")
    assert command.returncode == 0, command.stderr
    return msgspec.json.decode(command.stdout, type=BackPressure)


async def test_the_lab_switches_back_pressure_without_a_restart(suite: Suite) -> None:
    addresses = SuiteAddresses(
        public=suite.state.urls,
        internal=suite.state.internal_urls,
        console_secrets=tuple(suite.state.signing_secrets[CONSOLE]),
    )
    assert not shown(suite).enabled  # as the suite of the tests is configured
    async with aiohttp.ClientSession() as session:
        client = SuiteClient(session, addresses)
        await client.switch_back_pressure(enabled=True)
        try:
            assert shown(suite).enabled
        finally:
            await client.switch_back_pressure(enabled=None)
    assert (shown(suite).enabled, shown(suite).changed_at) == (False, None)
