"""Conformance of booking's API to its OpenAPI document, with generated requests."""

from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from prebook.contracts.plan import Coupling
from prebook.testing.http import create_memory_app
from tests.booking.booking_suite import BookingSuite

suite = BookingSuite(Coupling.SYNC_API, allow_plan_override=True)
suite.clock.now = datetime.now(UTC)
schema = schemathesis.openapi.from_asgi("/schema/openapi.json", create_memory_app(suite.assembled))


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
