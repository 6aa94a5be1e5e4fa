"""Conformance of every service to its OpenAPI document, with valid and invalid requests of schemathesis."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from prebook.flows import CONSOLE, OPERATIONS, PROCESSES
from tests.integration.suite import Suite, run_command

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
PUBLIC_APIS = ("booking", "operations")
INTERNAL_APIS = ("booking", "matching", "notification", "fleets", "operations")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
EXAMPLES = 25
SEED = 7
ROOT = Path(__file__).parents[2]
NO_VARIABLES: Mapping[str, str] = {}
PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


async def fetch_paths(url: str) -> dict[str, object]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        paths: dict[str, object] = (await http.get("/schema/openapi.json")).json().get("paths", {})
    return paths


@pytest.mark.parametrize("service", PUBLIC_APIS)
async def test_a_service_conforms_to_its_openapi_document(suite: Suite, service: str, tmp_path: Path) -> None:
    token = ("--header", f"Authorization: Bearer {suite.state.operator_token}")
    verify_conformance(suite, suite.state.urls[service], tmp_path, options=token if service == OPERATIONS else ())


@pytest.mark.parametrize("service", INTERNAL_APIS)
async def test_a_service_conforms_to_its_internal_openapi_document(suite: Suite, service: str, tmp_path: Path) -> None:
    secrets = ",".join(suite.state.signing_secrets[CONSOLE])
    signed = {"SIGNED_SECRETS": secrets, "SIGNED_RECEIVER": service}
    # Not imported here: its hooks would sign the requests of every schemathesis test in this process.
    hooks = {"SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_signatures", "PYTHONPATH": str(ROOT)}
    verify_conformance(suite, suite.state.internal_urls[service], tmp_path, hooks | signed)


def verify_conformance(
    suite: Suite, url: str, tmp_path: Path, env: Mapping[str, str] = NO_VARIABLES, options: Sequence[str] = ()
) -> None:
    limits = ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--phases", "examples,coverage,fuzzing"]
    document = f"{url}/schema/openapi.json"
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "--no-color",
        "run",
        document,
        "--checks",
        ",".join(CHECKS),
        *limits,
        *options,
    ]
    done = run_command(
        command, {**suite.env, **env, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}, cwd=tmp_path, timeout_s=150
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_no_other_service_documents_an_api(suite: Suite) -> None:
    urls = (suite.state.urls, suite.state.internal_urls)
    documented = [[service for service in PROCESSES if await fetch_paths(of[service])] for of in urls]
    assert documented == [list(PUBLIC_APIS), list(INTERNAL_APIS)]
