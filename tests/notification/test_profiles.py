"""``GET`` and ``PUT /v1/riders/{rider_id}/profile``, on both stores."""

from typing import Any

import pytest

from prebook.flows import PROCESSES, RIDER_PROFILE, callers_of
from prebook.notification.app import SERVICE
from prebook.testing.http import open_internal_client
from prebook.testing.single import assemble_alone
from tests.notification.conftest import Begin
from tests.notification.delivery import log_client

PATH = "/v1/riders/rosa/profile"
GOLD = {"tier": "gold", "home_zone": "2625:670"}


async def test_a_profile_is_what_was_put_last(begin: Begin) -> None:
    async with log_client(begin) as client:
        assert (await client.get(PATH)).json()["code"] == "no_such_profile"
        for profile in ({"tier": "silver"}, GOLD):
            response = await client.put(PATH, json=profile)
            assert response.status_code == 200, response.text
        assert (await client.get(PATH)).json() == GOLD
        assert (await client.get("/v1/riders/otto/profile")).status_code == 404


@pytest.mark.parametrize(
    "profile", [{"tier": "platinum"}, {"home_zone": "somewhere"}, {"home_zone": "2625:670\n"}, {"points": 7}, []]
)
async def test_a_malformed_profile_is_refused(begin: Begin, profile: Any) -> None:
    async with log_client(begin) as client:
        assert (await client.put(PATH, json=profile)).status_code == 422
        assert (await client.get(PATH)).status_code == 404


async def test_a_malformed_rider_is_refused(begin: Begin) -> None:
    async with log_client(begin) as client:
        assert (await client.get(f"/v1/riders/{'x' * 65}/profile")).status_code == 400


async def test_pricing_may_read_a_profile_and_only_the_console_may_set_it(begin: Begin) -> None:
    assembled = assemble_alone(SERVICE, begin)
    async with open_internal_client(assembled, RIDER_PROFILE.reader) as pricing:
        assert (await pricing.get(PATH)).status_code == 404
        assert (await pricing.put(PATH, json=GOLD)).status_code == 403
    for caller in callers_of("notification") & set(PROCESSES) - {RIDER_PROFILE.reader}:
        async with open_internal_client(assembled, caller) as client:
            assert (await client.get(PATH)).status_code == 403
