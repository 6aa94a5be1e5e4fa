"""Hooks of schemathesis: sign each request as the console, to the service in the variable SIGNED_RECEIVER.

Importing this module signs every request of its process.
"""

import os
import time

import requests
from requests.auth import AuthBase
from schemathesis.auths import GLOBAL_AUTH_STORAGE

from prebook.flows import CONSOLE
from prebook.patterns.call_signature import CallSigner

SECRETS_VARIABLE = "SIGNED_SECRETS"
RECEIVER_VARIABLE = "SIGNED_RECEIVER"


class ConsoleAuth(AuthBase):
    """Signs a prepared request."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        signer = CallSigner(CONSOLE, os.environ[SECRETS_VARIABLE].split(","))
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(body, bytes)
        # Of the headers only those of a message are covered, and these requests carry none.
        receiver = os.environ[RECEIVER_VARIABLE]
        signature = signer.sign(receiver, request.method or "", request.path_url, {}, body, now_s=time.time())
        request.headers.update(signature)
        return request


GLOBAL_AUTH_STORAGE.set_from_requests(ConsoleAuth())
