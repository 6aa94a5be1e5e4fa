"""`prebook doctor`: what `prebook up` needs, and what to do about what is missing."""

import os
import sys

import aiohttp
import msgspec
import rich_click as click

from prebook.cli.up import DEFAULT_PORT_BASE
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.containers import is_docker_available
from prebook.devstack.errors import UserError
from prebook.devstack.ports import is_free
from prebook.devstack.providers import (
    BROKER_PROVIDERS,
    choose_broker_provider,
    choose_database_provider,
    read_stack_mode,
)
from prebook.devstack.suite_state import SuiteState, read_suite_state
from prebook.flows import PROCESSES
from prebook.runtime import paths

MIN_PYTHON = (3, 11)
MIN_MEMORY_MB, RECOMMENDED_CORES = 1024, 2
REQUEST_TIMEOUT_S = 3.0
EXAMPLES = examples(
    "prebook doctor",
    "PREBOOK_STACK=docker prebook doctor",
    "prebook doctor --json | jq '.[] | select(.ok | not)'",
)


class DoctorFinding(msgspec.Struct, frozen=True):
    """``ok`` false keeps `prebook up` from working; a note does not."""

    subject: str
    ok: bool
    detail: str
    remedy: str = ""


@click.command(epilog=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="For programs: the findings as a JSON list on stdout.")
def doctor(*, as_json: bool) -> None:
    """Look at this machine and at the suite that runs here. Exit status 1 where `prebook up` would not work."""
    findings = command_line.run_interruptible(_examine())
    click.echo(msgspec.json.encode(findings).decode() if as_json else "\n".join(map(_finding_text, findings)))
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


async def _examine() -> list[DoctorFinding]:
    return [
        *_check_machine(),
        await _check_broker(),
        await _check_database(),
        await _check_docker(),
        *await _check_suite(),
    ]


def _check_machine() -> list[DoctorFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    cores = os.cpu_count() or 1
    return [
        DoctorFinding("Python", sys.version_info >= MIN_PYTHON, version, "install Python 3.11 or newer"),
        DoctorFinding("memory", memory >= MIN_MEMORY_MB, f"{memory} MB", f"the suite needs {MIN_MEMORY_MB} MB"),
        DoctorFinding(
            "cores",
            True,
            str(cores),
            "" if cores >= RECOMMENDED_CORES else f"with {RECOMMENDED_CORES} the figures are worth more",
        ),
    ]


async def _check_broker() -> DoctorFinding:
    try:
        rungs = BROKER_PROVIDERS[read_stack_mode()]
        used = await choose_broker_provider(read_stack_mode(), os.environ)
    except UserError as trouble:
        return DoctorFinding("RabbitMQ", False, trouble.problem, trouble.remedy)
    others = [rung.description for rung in rungs if rung is not used and await rung.is_available(os.environ)]
    also = f" (also possible: {'; '.join(others)})" if others else ""
    return DoctorFinding("RabbitMQ", True, f"{used.description}{also}")


async def _check_database() -> DoctorFinding:
    try:
        return DoctorFinding(
            "PostgreSQL", True, (await choose_database_provider(read_stack_mode(), os.environ)).description
        )
    except UserError as trouble:
        return DoctorFinding("PostgreSQL", False, trouble.problem, trouble.remedy)


async def _check_docker() -> DoctorFinding:
    answers = await is_docker_available()
    return DoctorFinding(
        "Docker", True, "answers" if answers else "does not answer; only PREBOOK_STACK=docker needs it"
    )


async def _check_suite() -> list[DoctorFinding]:
    try:
        suite = read_suite_state(paths.home_dir())
    except UserError as trouble:
        return [DoctorFinding("suite", True, trouble.problem), _check_ports()]
    return [await _check_readiness(suite, service) for service in suite.urls]


def _check_ports() -> DoctorFinding:
    wanted = range(DEFAULT_PORT_BASE, DEFAULT_PORT_BASE + len(PROCESSES) + 1)
    taken = ", ".join(str(port) for port in wanted if not is_free(port))
    remedy = f"end the program there, or `prebook up --port-base {DEFAULT_PORT_BASE + 1000}`; `prebook demo` takes free ports"
    return DoctorFinding(
        "ports", not taken, f"{taken} taken" if taken else f"{wanted[0]} to {wanted[-1]} are free", remedy
    )


async def _check_readiness(suite: SuiteState, service: str) -> DoctorFinding:
    remedy = f"read {suite.logs}/{service}.log"
    url = f"{suite.urls[service]}/readyz"
    try:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            text = "ready" if answer.ok else (await answer.text())[:300]
            return DoctorFinding(service, answer.ok, f"{suite.urls[service]} {text}", remedy)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return DoctorFinding(service, False, f"{url} does not answer: {error}", remedy)


def _finding_text(finding: DoctorFinding) -> str:
    remedy = f"\n{'':<19}-> {finding.remedy}" if finding.remedy and not finding.ok else ""
    return f"{'ok' if finding.ok else 'NO':<4} {finding.subject:<13} {finding.detail}{remedy}"
