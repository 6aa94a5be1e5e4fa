"""Conformance of booking's API to its OpenAPI document, with generated requests."""

from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.booking.booking_suite import BookingSuite, inline_channel

suite = BookingSuite(inline_channel(), allow_plan_override=True)
suite.clock.now = datetime.now(UTC)
schema = schemathesis.openapi.from_asgi("/schema/openapi.json", suite.app())


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_api_conforms_to_its_openapi_document(case: schemathesis.Case[Any]) -> None:
    # The schema cannot express that a time lies in the future or that a flow is known: a valid request may be refused.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
