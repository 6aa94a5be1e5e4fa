"""`docker compose up`, and what a user may do to what it leaves running. In this order: the last test stops it all."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from prebook.flows import SERVICES
from tests.conditions import poll_until
from tests.containers.composing import Compose
from tests.containers.conftest import Up
from tests.world import ride

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]

BACK_WITHIN_S = 90.0
GIB = 2**30
ASK_SUPERVISOR = """
import os, sys, urllib.request
token = open(os.environ["PREBOOK_CONTROL_TOKEN_FILE"]).read()
asked = urllib.request.Request("http://127.0.0.1:9000/processes", headers={"Authorization": "Bearer " + token})
sys.stdout.write(urllib.request.urlopen(asked).read().decode())
"""
# `docker kill` would tell the engine that the container is meant to stay down.
END_IT = "import os, signal; os.kill(1, signal.SIGINT)"
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def test_it_ends_with_the_campaigns_table_and_where_everything_is(up: Up) -> None:
    assert up.status == 0, up.output
    _, _, tail = up.output.partition("every ledger closes")
    assert tail, up.output
    assert up.compose.booking in tail
    assert "docker compose cp campaign:/reports/latest ./reports" in tail
    assert up.compose.container("campaign")["State"]["ExitCode"] == 0


def test_nobody_elses_log_is_in_between(up: Up) -> None:
    assert not re.findall(rf"^\S*(?:{'|'.join(SERVICES)}|postgres|rabbitmq)-1 +\|", up.output, re.MULTILINE)


def test_the_report_can_be_had(up: Up, tmp_path: Path) -> None:
    up.compose.did("cp", "campaign:/reports/latest", str(tmp_path))
    report = json.loads((tmp_path / "latest" / "report.json").read_bytes())
    assert report["stack"]["mode"] == "compose"
    assert (tmp_path / "latest" / "report.html").stat().st_size > 10_000


def test_the_process_of_pricing_was_really_killed(up: Up) -> None:
    pricing, booking = (_process(up.compose, name) for name in ("pricing", "booking"))
    assert (pricing["restarts"], pricing["last_status"]) == (1, -9)
    assert booking["restarts"] == 0


def test_the_whole_suite_takes_less_than_a_gigabyte_and_none_met_its_limit(up: Up) -> None:
    states = {each["Name"]: each["State"] for each in up.compose.containers()}
    assert len(states) <= 10
    assert [name for name, state in states.items() if state["OOMKilled"]] == []
    assert "terminated by signal 9" not in up.compose.did("logs", "postgres")
    assert sum(_used(line) for line in _stats(up.compose)) < GIB


def test_a_service_is_an_ordinary_user_on_a_file_system_that_it_cannot_write(up: Up) -> None:
    assert up.compose.inside("booking", "id", "-u").stdout.strip() == "10001"
    assert "Read-only file system" in up.compose.inside("booking", "touch", "/opt/prebook/here").stdout


def test_a_service_reads_its_own_secrets_only(up: Up) -> None:
    own = up.compose.inside("booking", "cat", "/run/prebook/booking/database_url")
    assert (own.returncode, own.stdout[:32]) == (0, "postgresql+asyncpg://prebook_boo")
    for path in ("pricing/database_url", "setup/database_url", "postgres_password", "rabbitmq_password"):
        other = up.compose.inside("booking", "cat", f"/run/prebook/{path}")
        assert other.returncode == 1
        assert "Permission denied" in other.stdout


async def test_a_container_that_ended_comes_back(up: Up) -> None:
    before = up.compose.container("pricing")["RestartCount"]
    up.compose.inside("pricing", "python", "-c", END_IT)
    await poll_until(lambda: _came_back(up.compose, "pricing", before), BACK_WITHIN_S, interval_s=0.5)
    await _a_ride_is_confirmed(up.compose)


async def test_it_recovers_from_a_restart_of_broker_and_database(up: Up) -> None:
    up.compose.did("restart", "rabbitmq", "postgres")
    await _a_ride_is_confirmed(up.compose)
    assert [_process(up.compose, name)["restarts"] for name in ("booking", "matching")] == [0, 0]


def test_a_second_start_with_the_same_data_gives_the_status_of_a_campaign_that_fails(up: Up) -> None:
    up.compose.did("down")
    again = up.compose.run(
        "up",
        "--abort-on-container-exit",
        "--exit-code-from",
        "campaign",
        PREBOOK_CAMPAIGN_OPTIONS="--scenario nonsense",
    )
    assert again.returncode == 2, again.stdout
    assert "nonsense" in again.stdout
    assert [each["Name"] for each in up.compose.containers() if each["State"]["Running"]] == []


def _process(compose: Compose, service: str) -> Any:
    answer = compose.inside(service, "python", "-c", ASK_SUPERVISOR)
    return json.loads(answer.stdout)[0]


def _stats(compose: Compose) -> list[str]:
    return compose.did("stats", "--no-stream", "--format", "{{.MemUsage}}").splitlines()


def _used(usage: str) -> float:
    """Of `117.5MiB / 192MiB`."""
    found = re.match(r"([\d.]+)([KMG]iB) / ", usage)
    return float(found[1]) * UNITS[found[2]] if found else 0.0


async def _came_back(compose: Compose, service: str, restarts: int) -> bool:
    now = compose.container(service)
    return bool(now["RestartCount"] > restarts and now["State"]["Health"]["Status"] == "healthy")


async def _a_ride_is_confirmed(compose: Compose) -> None:
    key = uuid4().hex
    async with httpx.AsyncClient(base_url=compose.booking, timeout=30, trust_env=False) as http:

        async def confirmed() -> bool:
            """Asked with the same key until it is accepted: one ride, however often."""
            try:
                answer = await http.post("/v1/bookings", json=ride(), headers={"Idempotency-Key": key})
                if answer.is_error:
                    return False
                view = await http.get(f"/v1/bookings/{answer.json()['id']}")
                return bool(view.is_success and view.json()["state"] == "confirmed")
            except httpx.HTTPError:
                return False

        await poll_until(confirmed, BACK_WITHIN_S, interval_s=0.5)
