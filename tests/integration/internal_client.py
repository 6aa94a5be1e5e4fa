"""Clients with credentials: of internal listeners, in the name of a caller, and of operations, as an operator."""

import httpx

from prebook.flows import CONSOLE, OPERATIONS
from prebook.http.signed_client import CallAuth
from tests.integration.suite import Suite


def open_internal_client(suite: Suite, service: str, caller: str = CONSOLE) -> httpx.AsyncClient:
    """Return a client of one service. Health and metrics need no signature, and get one too."""
    auth = CallAuth(caller, suite.state.signing_secrets[caller], service)
    return httpx.AsyncClient(base_url=suite.state.internal_urls[service], auth=auth, timeout=30, trust_env=False)


def open_operations_client(suite: Suite) -> httpx.AsyncClient:
    """Return a client of operations with the console's token."""
    headers = {"authorization": f"Bearer {suite.state.operator_token}"}
    return httpx.AsyncClient(base_url=suite.state.urls[OPERATIONS], headers=headers, timeout=30, trust_env=False)
