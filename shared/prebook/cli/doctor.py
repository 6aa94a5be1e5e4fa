"""`prebook doctor`: check this machine, and the suite on it, for what `prebook up` needs."""

import os
import re
import sys
from collections.abc import Mapping

import msgspec
import rich_click as click

from prebook.cli.suite_access import are_services_configured, find_services
from prebook.cli.up import DEFAULT_PORT_BASE
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.containers import is_docker_available
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.ports import is_free
from prebook.devstack.providers import (
    BROKER_PROVIDERS,
    choose_broker_provider,
    choose_database_provider,
    read_stack_mode,
)
from prebook.devstack.service_environment import count_ports
from prebook.devstack.suite_state import read_suite_state
from prebook.devstack.terminal import echo
from prebook.flows import OPERATIONS
from prebook.http.client import create_http_client, limit_exchange
from prebook.messaging.errors import Unreachable
from prebook.runtime import paths

MIN_PYTHON = (3, 11)
MIN_MEMORY_MB = 1024
RECOMMENDED_CORES = 2
FEW_CORES_HINT = f" ({RECOMMENDED_CORES} or more are recommended for measurements)"
REQUEST_TIMEOUT_S = 3.0
MAX_REASON_CHARS = 300
SUPPORTED_BROKER = (4, 0)
"""Lowest supported version of RabbitMQ. Some ``x-death`` headers stop the dead-lettering of 3.10; 4.0 ignores them."""
OLD_BROKER_HINT = (
    " (out of support; one message with a forged x-death header can stop its dead-lettering for good: use RabbitMQ 4)"
)
DELAY_QUEUE_REMEDY = (
    "read the guide's section on a broker that returns no delayed messages; the broker's log names the queue beside "
    "rabbit_fifo_dlx_worker"
)
OVERDUE_DELAY_QUEUE = re.compile(r'^prebook_delay_queue_overdue_seconds\{queue="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)
EXAMPLES = examples(
    "prebook doctor",
    "PREBOOK_STACK=docker prebook doctor",
    "prebook doctor --json | jq '.[] | select(.ok | not)'",
)


class DoctorFinding(msgspec.Struct, frozen=True):
    """One check of the machine or the suite.

    ``ok`` is false where `prebook up` would not work; ``remedy`` says what to do then.
    """

    subject: str
    ok: bool
    detail: str
    remedy: str = ""


@click.command(epilog=EXAMPLES)
@json_option("Print the findings as one JSON list to stdout.")
def doctor(*, as_json: bool) -> None:
    """Check this machine and the suite that runs on it. Exit status 1 if `prebook up` would not work.

    In the console of a container deployment: check its services. Exit status 1 if one of them is not ready.
    """
    findings = command_line.run_interruptible(_examine())
    echo(msgspec.json.encode(findings) if as_json else "\n".join(map(_finding_text, findings)))
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


async def _examine() -> list[DoctorFinding]:
    if are_services_configured():
        urls = find_services().internal_urls
        readiness = [await _check_readiness(name, url, url, f"read the log of {name}") for name, url in urls.items()]
        return [*readiness, *await _check_delay_queues(urls)]
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
        DoctorFinding(
            "memory",
            memory >= MIN_MEMORY_MB,
            f"{memory} MB",
            f"use a machine with at least {MIN_MEMORY_MB} MB of memory",
        ),
        DoctorFinding("cores", True, f"{cores}{'' if cores >= RECOMMENDED_CORES else FEW_CORES_HINT}"),
    ]


async def _check_broker() -> DoctorFinding:
    try:
        providers = BROKER_PROVIDERS[read_stack_mode()]
        used = await choose_broker_provider(read_stack_mode(), os.environ)
    except UserError as error:
        return DoctorFinding("RabbitMQ", False, error.problem, error.remedy)
    others = [
        provider.description
        for provider in providers
        if provider is not used and await provider.is_available(os.environ)
    ]
    also = f" (also possible: {'; '.join(others)})" if others else ""
    return DoctorFinding("RabbitMQ", True, f"{used.description}{also}")


async def _check_database() -> DoctorFinding:
    try:
        provider = await choose_database_provider(read_stack_mode(), os.environ)
        return DoctorFinding("PostgreSQL", True, provider.description)
    except UserError as error:
        return DoctorFinding("PostgreSQL", False, error.problem, error.remedy)


async def _check_docker() -> DoctorFinding:
    available = await is_docker_available()
    detail = "available" if available else "not available (needed only for PREBOOK_STACK=docker)"
    return DoctorFinding("Docker", True, detail)


async def _check_suite() -> list[DoctorFinding]:
    try:
        suite = read_suite_state(paths.home_dir())
    except UserError as error:
        return [DoctorFinding("suite", True, error.problem), _check_ports()]
    readiness = [
        await _check_readiness(service, url, suite.internal_urls[service], f"read {suite.logs}/{service}.log")
        for service, url in suite.urls.items()
    ]
    broker = DoctorFinding("broker", True, describe_broker(suite.broker))
    return [broker, *readiness, *await _check_delay_queues(suite.internal_urls)]


def _check_ports() -> DoctorFinding:
    wanted = range(DEFAULT_PORT_BASE, DEFAULT_PORT_BASE + count_ports())
    taken = ", ".join(str(port) for port in wanted if not is_free(port))
    other_ports = f"`prebook up --port-base {DEFAULT_PORT_BASE + 1000}`"
    remedy = f"end the program that listens there, or run {other_ports}; `prebook demo` uses free ports"
    detail = f"{taken} in use" if taken else f"{wanted[0]} to {wanted[-1]} are free"
    return DoctorFinding("ports", not taken, detail, remedy)


async def _check_readiness(service: str, shown_url: str, internal_url: str, remedy: str) -> DoctorFinding:
    url = f"{internal_url}/readyz"
    try:
        async with limit_exchange(url, REQUEST_TIMEOUT_S), create_http_client() as client:
            response = await client.get(url)
        text = "ready" if response.is_success else response.text[:MAX_REASON_CHARS]
        return DoctorFinding(service, response.is_success, f"{shown_url} {text}", remedy)
    except Unreachable as error:
        return DoctorFinding(service, False, str(error), remedy)


def describe_broker(name: str) -> str:
    """Return ``name``, such as "RabbitMQ 3.10.8", with a warning if the version is out of support."""
    version = re.search(r"(\d+)\.(\d+)", name)
    is_old = version is not None and (int(version[1]), int(version[2])) < SUPPORTED_BROKER
    return f"{name}{OLD_BROKER_HINT if is_old else ''}"


async def _check_delay_queues(internal_urls: Mapping[str, str]) -> list[DoctorFinding]:
    """Return a finding about the delay queues; none if operations, which tests them, cannot be reached."""
    url = internal_urls.get(OPERATIONS)
    if url is None:
        return []
    try:
        async with limit_exchange(url, REQUEST_TIMEOUT_S), create_http_client() as client:
            return [delay_queue_finding((await client.get(f"{url}/metrics")).text)]
    except Unreachable:
        return []


def delay_queue_finding(metrics: str) -> DoctorFinding:
    """Return what the metrics of operations say about the delay queues."""
    late_s = {queue: float(seconds) for queue, seconds in OVERDUE_DELAY_QUEUE.findall(metrics)}
    stuck = [f"{queue} for {seconds:.0f} s" for queue, seconds in sorted(late_s.items()) if seconds]
    detail = f"the broker returns nothing from {', '.join(stuck)}" if stuck else "the broker returns delayed messages"
    return DoctorFinding("delay queues", not stuck, detail, DELAY_QUEUE_REMEDY)


def _finding_text(finding: DoctorFinding) -> str:
    remedy = f"\n{'':<19}-> {finding.remedy}" if finding.remedy and not finding.ok else ""
    return f"{'ok' if finding.ok else 'NO':<4} {finding.subject:<13} {finding.detail}{remedy}"
