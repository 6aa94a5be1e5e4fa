"""Conformance of every service to its OpenAPI document, with valid and invalid requests of schemathesis."""

import sys
from pathlib import Path

import httpx
import pytest

from prebook.flows import PROCESSES
from tests.integration.suite import Suite, run_command

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
SERVICES_WITH_API = ("booking", "notification", "operations")
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
PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


async def fetch_paths(suite: Suite, service: str) -> dict[str, object]:
    async with httpx.AsyncClient(base_url=suite.state.urls[service], trust_env=False) as http:
        paths: dict[str, object] = (await http.get("/schema/openapi.json")).json().get("paths", {})
    return paths


@pytest.mark.parametrize("service", SERVICES_WITH_API)
async def test_a_service_conforms_to_its_openapi_document(suite: Suite, service: str, tmp_path: Path) -> None:
    url = f"{suite.state.urls[service]}/schema/openapi.json"
    limits = ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--phases", "examples,coverage,fuzzing"]
    command = [sys.executable, "-c", PROGRAM, "--no-color", "run", url, "--checks", ",".join(CHECKS), *limits]
    done = run_command(
        command, {**suite.env, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}, cwd=tmp_path, timeout_s=150
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_other_services_document_no_api(suite: Suite) -> None:
    assert [service for service in PROCESSES if await fetch_paths(suite, service)] == list(SERVICES_WITH_API)
