"""Client of the internal listeners of a suite, which signs in the name of a caller."""

import httpx

from prebook.flows import CONSOLE
from prebook.http.signed_client import CallAuth
from tests.integration.suite import Suite


def open_internal_client(suite: Suite, service: str, caller: str = CONSOLE) -> httpx.AsyncClient:
    """Return a client of one service. Health and metrics need no signature, and get one too."""
    auth = CallAuth(caller, suite.state.signing_secrets[caller], service)
    return httpx.AsyncClient(base_url=suite.state.internal_urls[service], auth=auth, timeout=30, trust_env=False)
