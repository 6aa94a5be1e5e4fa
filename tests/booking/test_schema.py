"""Booking's API does what its OpenAPI description says, tried with generated requests."""

from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.booking.rides import Suite, inline

suite = Suite(inline(), allow_plan_override=True)
suite.clock.now = datetime.now(UTC)
schema = schemathesis.openapi.from_asgi("/schema/openapi.json", suite.app())


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_api_keeps_its_description(case: schemathesis.Case[Any]) -> None:
    # It cannot say that a time lies in the future or that a flow is known: what fits it may still be refused.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
