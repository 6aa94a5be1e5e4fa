"""Time limits of the flows: the lab gets those of the suite that it judges, and does not run without them."""

from typing import Any

import pytest

from prebook.devstack.service_environment import lab_environment
from prebook.devstack.suite_state import SuiteState
from prebook.flows import CONSOLE
from prebook.lab.suite_client.flow_limits import VARIABLE, read_flow_limits
from prebook.lab.suite_client.settings import InvalidEnvironment
from prebook.messaging.policy import read_policies
from prebook.runtime import paths


def suite_state() -> SuiteState:
    fields: dict[str, Any] = dict.fromkeys(SuiteState.__struct_fields__, "")
    return SuiteState(**{**fields, "urls": {}, "internal_urls": {}, "signing_secrets": {CONSOLE: ("secret",)}})


def test_the_lab_gets_the_limits_of_the_suite() -> None:
    environment = lab_environment(suite_state(), with_database=True)
    policies = read_policies(paths.couplings_file())
    for flow, limits in read_flow_limits(environment).items():
        assert (limits.deadline_s, limits.timeout_s) == (policies[flow].deadline_s, policies[flow].timeout_s)


@pytest.mark.parametrize("given", [None, "", "[]", '{"quote_fare": {"deadline_s": 30.0, "timeout_s": 2.0}}'])
def test_missing_limits_are_an_error_that_names_the_variable(given: Any) -> None:
    environ = {} if given is None else {VARIABLE: given}
    with pytest.raises(InvalidEnvironment) as raised:
        read_flow_limits(environ)
    assert VARIABLE in raised.value.problem
