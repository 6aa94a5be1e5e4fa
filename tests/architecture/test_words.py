"""Domain decisions are free of transport terms and of couplings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebook.contracts.plan import Coupling

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services" / "prebook"
WORDS = (
    *(coupling.value for coupling in Coupling),
    *("queue", "exchange", "routing", "broker", "rabbit", "rabbitmq", "amqp", "aio_pika", "publish", "publisher"),
    *("http", "httpx", "aiohttp", "litestar", "post", "callback", "webhook", "endpoint", "status_code"),
)
TRANSPORT = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})(s|d|ed|es)?(?![a-z])", re.IGNORECASE)
DECISIONS = sorted([*SERVICES.glob("*/*process.py"), *SERVICES.glob("*/domain/**/*.py")])
COUPLING_FREE = sorted([*DECISIONS, *SERVICES.glob("*/*handlers.py")])


def _relative_name(path: Path) -> str:
    return str(path.relative_to(SERVICES))


def test_the_checked_files_include_process_and_domain() -> None:
    assert {"matching/process.py", "pricing/domain/fare.py"} <= set(map(_relative_name, DECISIONS))


@pytest.mark.parametrize("path", DECISIONS, ids=_relative_name)
def test_decisions_use_no_transport_word(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), 1)
    assert [f"{number}: {line.strip()}" for number, line in lines if TRANSPORT.search(line)] == []


@pytest.mark.parametrize("line", ["via sync_api", "self.queue_name", "HTTPX.get", "published", "on_callback()"])
def test_a_transport_word_is_found(line: str) -> None:
    assert TRANSPORT.search(line)


@pytest.mark.parametrize("path", COUPLING_FREE, ids=_relative_name)
def test_no_handler_and_no_process_depends_on_the_coupling(path: Path) -> None:
    assert list(_mentions(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("source", ["if x is Coupling.ONE_WAY: pass", "match plan[f]:\n case 'one_way': pass"])
def test_a_dependency_on_the_coupling_is_found(source: str) -> None:
    assert list(_mentions(ast.parse(source)))


def _mentions(tree: ast.AST) -> Iterator[str]:
    """Yield every mention of the enum, of one of its members, or of an envelope's ``coupling``."""
    names = {coupling.value for coupling in Coupling} | {coupling.name for coupling in Coupling}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            word = node.id if isinstance(node, ast.Name) else node.attr
            if word in {"Coupling", "coupling"} | names:
                yield f"{node.lineno}: {word}"
        elif isinstance(node, ast.Constant) and node.value in names:
            yield f"{node.lineno}: {node.value}"
