"""`docker compose up` and the suite that it leaves running. The tests depend on their order: the last one stops it."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from prebook.flows import PROCESSES, SERVICES
from prebook.lab.campaign.scenarios import select_scenarios
from tests.conditions import poll_until
from tests.containers.compose_project import ROOT, ComposeProject
from tests.containers.conftest import ComposeRun
from tests.world import ride

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

RECOVERY_TIMEOUT_S = 90.0
MAX_BYTES_AT_REST = 1.2e9
LIST_PROCESSES = """
import os, sys, urllib.request
service = sys.argv[1].upper()
token = open(os.environ[f"PREBOOK_CONTROL_TOKEN_{service}_FILE"]).read()
url = os.environ[f"PREBOOK_CONTROL_{service}"] + "/processes"
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
sys.stdout.write(urllib.request.urlopen(request).read().decode())
"""
# The container ends itself, because after `docker kill` the engine would not restart it.
END_CONTAINER = "import os, signal; os.kill(1, signal.SIGINT)"
README = ROOT / "README.md"
CONSOLE_COMMANDS = (
    "ledger",
    "parking list",
    "parking failure-groups",
    "outbox list",
    "ordering list",
    "archive status",
    "topology diff",
    "retry schedule quote_fare",
    "doctor",
    "fault list",
)
SERVER_FAULTS = (
    "broker_restart",
    "broker_kill",
    "database_restart",
    "database_kill",
    "database_read_only",
    "database_locked",
    "memory_alarm",
    "connections_cut",
    "poison",
)
SOURCES = ("metrics", "queues", "ledger", "switches", "dead letters")
"""Sources of the control room's figures."""
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def test_the_output_ends_with_the_results_and_the_addresses(up: ComposeRun) -> None:
    assert up.status == 0, up.output
    _, _, tail = up.output.partition("every ledger closes")
    assert tail, up.output
    assert up.project.booking_url in tail
    assert "docker compose cp campaign:/reports/latest ./reports" in tail
    assert up.project.inspect("campaign")["State"]["ExitCode"] == 0


def test_the_output_contains_no_log_of_another_container(up: ComposeRun) -> None:
    assert not re.findall(rf"^\S*(?:{'|'.join(SERVICES)}|postgres|rabbitmq)-1 +\|", up.output, re.MULTILINE)


def test_the_report_can_be_copied_from_the_container(up: ComposeRun, tmp_path: Path) -> None:
    up.project.run_checked("cp", "campaign:/reports/latest", str(tmp_path))
    report = json.loads((tmp_path / "latest" / "report.json").read_bytes())
    assert report["stack"]["mode"] == "compose"
    assert (tmp_path / "latest" / "report.html").stat().st_size > 10_000


def test_the_campaign_measured_a_fault_of_each_kind_that_a_quick_one_has(up: ComposeRun) -> None:
    report = json.loads(up.project.run_checked("exec", "-T", "lab", "cat", "/reports/latest/report.json"))
    faults = {row["fault"]: row["not_measured_reason"] for row in report["matrix"]}
    assert set(faults) == {s.fault.fault.name for s in select_scenarios((), quick=True) if s.fault}
    assert set(faults.values()) == {""}


def test_the_campaign_killed_only_the_process_of_pricing(up: ComposeRun) -> None:
    pricing, booking = (_process(up.project, name) for name in ("pricing", "booking"))
    assert (pricing["restarts"], pricing["last_status"]) == (1, -9)
    assert booking["restarts"] == 0


def test_the_suite_stays_within_its_memory_and_no_container_reaches_its_limit(up: ComposeRun) -> None:
    states = {each["Name"]: each["State"] for each in up.project.inspect_all()}
    assert len(states) <= 12
    assert [name for name, state in states.items() if state["OOMKilled"]] == []
    assert "terminated by signal 9" not in up.project.run_checked("logs", "postgres")
    assert sum(_memory_bytes(line) for line in _stats(up.project)) < MAX_BYTES_AT_REST


def test_a_service_runs_unprivileged_on_a_read_only_file_system(up: ComposeRun) -> None:
    assert up.project.run_in("booking", "id", "-u").stdout.strip() == "10001"
    assert "Read-only file system" in up.project.run_in("booking", "touch", "/opt/prebook/here").stdout


def test_a_service_can_read_only_its_own_secrets(up: ComposeRun) -> None:
    own = up.project.run_in("booking", "cat", "/run/prebook/booking/database_url")
    assert (own.returncode, own.stdout[:32]) == (0, "postgresql+asyncpg://prebook_boo")
    foreign = ("pricing/database_url", "setup/database_url", "console/database_url", "console/console_control_token")
    for path in (*foreign, "postgres_password", "rabbitmq_password"):
        other = up.project.run_in("booking", "cat", f"/run/prebook/{path}")
        assert other.returncode == 1
        assert "Permission denied" in other.stdout


def test_no_internal_listener_and_no_control_api_is_published(up: ComposeRun) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], port)
        for container in up.project.inspect_all()
        for port, bindings in container["NetworkSettings"]["Ports"].items()
        if bindings
    }
    assert published == {
        ("booking", "8000/tcp"),
        ("operations", "8000/tcp"),
        ("rabbitmq", "15672/tcp"),
        ("lab", "9001/tcp"),
    }


async def test_each_listener_serves_its_own_endpoints_only(up: ComposeRun) -> None:
    async with httpx.AsyncClient(base_url=up.project.booking_url, timeout=30, trust_env=False) as http:
        assert (await http.get("/v1/ledger")).status_code == 404
        assert (await http.get("/metrics")).status_code == 404
        assert (await http.get("/livez")).status_code == 200
    internal = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).status)"
    for service in PROCESSES:
        done = up.project.run_in("lab", "python", "-c", internal, f"http://{service}:8001/metrics")
        assert done.stdout.strip() == "200", done.stdout
        unsigned = up.project.run_in("lab", "python", "-c", internal, f"http://{service}:8001/inbox/none")
        assert "401" in unsigned.stdout


@pytest.mark.parametrize("command", CONSOLE_COMMANDS)
def test_a_command_finds_the_suite_in_the_console(up: ComposeRun, command: str) -> None:
    done = up.project.run_in("lab", "prebook", *command.split())
    assert done.returncode == 0, done.stdout


def test_the_commands_of_the_readme_work_in_the_console(up: ComposeRun) -> None:
    commands = re.findall(r"^docker compose exec lab prebook ([^#\n]+?) *(?:#.*)?$", README.read_text(), re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        done = up.project.run_in("lab", "prebook", *command.split())
        assert done.returncode == 0, done.stdout


def test_the_ledger_in_the_console_counts_the_rides_of_the_campaign(up: ComposeRun) -> None:
    ledger = json.loads(up.project.run_in("lab", "prebook", "ledger", "--json").stdout)
    assert ledger["bookings"] > 100
    assert ledger["duplicated"] == 0


async def test_the_control_room_shows_and_breaks_the_suite(up: ComposeRun) -> None:
    """The campaign printed a URL of it; `prebook url` prints another one, from either container."""
    assert f"control room, in one browser: {up.project.page_url}/?token=" in up.output
    url = up.project.run_checked("exec", "-T", "lab", "prebook", "url").strip()
    origin = {"origin": up.project.page_url}
    async with httpx.AsyncClient(base_url=up.project.page_url, headers=origin, timeout=60, trust_env=False) as browser:
        assert (await browser.get("/")).status_code == 401
        assert (await browser.get(url, follow_redirects=True)).status_code == 200
        sections = await _follow(browser, lambda sections: sections.get("sources") == dict.fromkeys(SOURCES, ""))
        assert sections["ledger"]
        assert (await browser.post("/v1/faults/kill_pricing/arm", json={})).is_success
        assert (await browser.post("/v1/faults/kill_pricing/injections", json={"duration_s": 1})).is_success
        sections = await _follow(browser, lambda sections: [run for run in _runs(sections) if run["ended_at"]])
    (run,) = _runs(sections)
    assert (run["name"], run["state"]) == ("kill_pricing", "undone"), run


@pytest.mark.parametrize("fault", SERVER_FAULTS)
async def test_a_server_fault_takes_effect_and_the_suite_recovers(up: ComposeRun, fault: str) -> None:
    """The control loop beside the server carries the fault out; no container has the Docker socket."""
    before = {name: up.project.inspect(name)["RestartCount"] for name in ("rabbitmq", "postgres")}
    done = up.project.run_in("lab", "prebook", "fault", "inject", fault, "--for", "2", "--json")
    assert done.returncode == 0, done.stdout
    await _wait_for_confirmed_ride(up.project)
    assert before == {name: up.project.inspect(name)["RestartCount"] for name in before}


async def test_an_ended_container_is_restarted(up: ComposeRun) -> None:
    before = up.project.inspect("pricing")["RestartCount"]
    up.project.run_in("pricing", "python", "-c", END_CONTAINER)
    await poll_until(lambda: _is_restarted(up.project, "pricing", before), RECOVERY_TIMEOUT_S, interval_s=0.5)
    await _wait_for_confirmed_ride(up.project)


async def test_the_suite_recovers_from_a_restart_of_broker_and_database(up: ComposeRun) -> None:
    up.project.run_checked("restart", "rabbitmq", "postgres")
    await _wait_for_confirmed_ride(up.project)
    assert [_process(up.project, name)["restarts"] for name in ("booking", "matching")] == [0, 0]


def test_a_second_start_returns_the_exit_status_of_a_failed_campaign(up: ComposeRun) -> None:
    up.project.run_checked("down")
    second = up.project.run(
        "up",
        "--abort-on-container-exit",
        "--exit-code-from",
        "campaign",
        PREBOOK_CAMPAIGN_OPTIONS="--scenario nonsense",
    )
    assert second.returncode == 2, second.stdout
    assert "nonsense" in second.stdout
    assert [each["Name"] for each in up.project.inspect_all() if each["State"]["Running"]] == []


async def _follow(browser: httpx.AsyncClient, is_enough: Callable[[Mapping[str, Any]], object]) -> Mapping[str, Any]:
    """Follow the stream of the control room until its sections are enough, and return them."""
    sections: dict[str, Any] = {}
    try:
        async with asyncio.timeout(RECOVERY_TIMEOUT_S), browser.stream("GET", "/v1/live") as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    for name, value in json.loads(line.removeprefix("data: ")).items():
                        is_delta = isinstance(value, dict)
                        sections[name] = {**sections.get(name, {}), **value} if is_delta else value
                if is_enough(sections):
                    return sections
    except TimeoutError:
        pass
    raise AssertionError(f"not enough: {sections}")


def _runs(sections: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(sections.get("faults", {}).values())


def _process(project: ComposeProject, service: str) -> Any:
    """Return the process of a service, as its supervisor lists it to the console, which holds the tokens."""
    output = project.run_checked("exec", "-T", "lab", "python", "-c", LIST_PROCESSES, service)
    return json.loads(output.splitlines()[-1])[0]


def _stats(project: ComposeProject) -> list[str]:
    return project.run_checked("stats", "--no-stream", "--format", "{{.MemUsage}}").splitlines()


def _memory_bytes(usage: str) -> float:
    """Return the used bytes of a text such as `117.5MiB / 192MiB`."""
    match = re.match(r"([\d.]+)([KMG]iB) / ", usage)
    return float(match[1]) * UNITS[match[2]] if match else 0.0


async def _is_restarted(project: ComposeProject, service: str, restarts: int) -> bool:
    container = project.inspect(service)
    return bool(container["RestartCount"] > restarts and container["State"]["Health"]["Status"] == "healthy")


async def _wait_for_confirmed_ride(project: ComposeProject) -> None:
    key = uuid4().hex
    async with httpx.AsyncClient(base_url=project.booking_url, timeout=30, trust_env=False) as http:

        async def confirmed() -> bool:
            """Book with the same key until a ride is accepted, and return whether it is confirmed."""
            try:
                response = await http.post("/v1/bookings", json=ride(), headers={"Idempotency-Key": key})
                if response.is_error:
                    return False
                view = await http.get(f"/v1/bookings/{response.json()['id']}")
                return bool(view.is_success and view.json()["state"] == "confirmed")
            except httpx.HTTPError:
                return False

        await poll_until(confirmed, RECOVERY_TIMEOUT_S, interval_s=0.5)
