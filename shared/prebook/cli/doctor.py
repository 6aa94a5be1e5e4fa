"""`prebook doctor`: what `prebook up` needs, and what to do about what is missing."""

import os
import sys

import aiohttp
import msgspec
import rich_click as click

from prebook.cli.up import PORT_BASE
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.containers import engine_answers
from prebook.devstack.errors import Trouble
from prebook.devstack.ports import is_free
from prebook.devstack.providers import BROKERS, broker_rung, database_rung, mode
from prebook.devstack.suite_state import Whereabouts, running
from prebook.flows import PROCESSES
from prebook.runtime import paths

PYTHON = (3, 11)
MEMORY_MB, CORES = 1024, 2
ASK_WITHIN_S = 3.0
EXAMPLES = examples(
    "prebook doctor",
    "PREBOOK_STACK=docker prebook doctor",
    "prebook doctor --json | jq '.[] | select(.ok | not)'",
)


class Finding(msgspec.Struct, frozen=True):
    """``ok`` false keeps `prebook up` from working; a note does not."""

    subject: str
    ok: bool
    text: str
    remedy: str = ""


@click.command(epilog=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="For programs: the findings as a JSON list on stdout.")
def doctor(*, as_json: bool) -> None:
    """Look at this machine and at the suite that runs here. Exit status 1 where `prebook up` would not work."""
    findings = command_line.run(_examined())
    click.echo(msgspec.json.encode(findings).decode() if as_json else "\n".join(map(_line, findings)))
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


async def _examined() -> list[Finding]:
    return [*_machine(), await _broker(), await _database(), await _docker(), *await _suite()]


def _machine() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    cores = os.cpu_count() or 1
    return [
        Finding("Python", sys.version_info >= PYTHON, version, "install Python 3.11 or newer"),
        Finding("memory", memory >= MEMORY_MB, f"{memory} MB", f"the suite needs {MEMORY_MB} MB"),
        Finding("cores", True, str(cores), "" if cores >= CORES else f"with {CORES} the figures are worth more"),
    ]


async def _broker() -> Finding:
    try:
        rungs = BROKERS[mode()]
        used = await broker_rung(mode(), os.environ)
    except Trouble as trouble:
        return Finding("RabbitMQ", False, trouble.problem, trouble.remedy)
    others = [rung.name for rung in rungs if rung is not used and await rung.carries(os.environ)]
    also = f" (also possible: {'; '.join(others)})" if others else ""
    return Finding("RabbitMQ", True, f"{used.name}{also}")


async def _database() -> Finding:
    try:
        return Finding("PostgreSQL", True, (await database_rung(mode(), os.environ)).name)
    except Trouble as trouble:
        return Finding("PostgreSQL", False, trouble.problem, trouble.remedy)


async def _docker() -> Finding:
    answers = await engine_answers()
    return Finding("Docker", True, "answers" if answers else "does not answer; only PREBOOK_STACK=docker needs it")


async def _suite() -> list[Finding]:
    try:
        suite = running(paths.home())
    except Trouble as trouble:
        return [Finding("suite", True, trouble.problem), _ports()]
    return [await _readiness(suite, service) for service in suite.urls]


def _ports() -> Finding:
    wanted = range(PORT_BASE, PORT_BASE + len(PROCESSES) + 1)
    taken = ", ".join(str(port) for port in wanted if not is_free(port))
    remedy = f"end the program there, or `prebook up --port-base {PORT_BASE + 1000}`; `prebook demo` takes free ports"
    return Finding("ports", not taken, f"{taken} taken" if taken else f"{wanted[0]} to {wanted[-1]} are free", remedy)


async def _readiness(suite: Whereabouts, service: str) -> Finding:
    remedy = f"read {suite.logs}/{service}.log"
    url = f"{suite.urls[service]}/readyz"
    try:
        timeout = aiohttp.ClientTimeout(total=ASK_WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            text = "ready" if answer.ok else (await answer.text())[:300]
            return Finding(service, answer.ok, f"{suite.urls[service]} {text}", remedy)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Finding(service, False, f"{url} does not answer: {error}", remedy)


def _line(finding: Finding) -> str:
    remedy = f"\n{'':<19}-> {finding.remedy}" if finding.remedy and not finding.ok else ""
    return f"{'ok' if finding.ok else 'NO':<4} {finding.subject:<13} {finding.text}{remedy}"
