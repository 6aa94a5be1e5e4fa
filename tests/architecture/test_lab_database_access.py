"""The lab reads a suite over the wire; its database judges alone contain SQL on the services' private tables.

import-linter sees imports and no SQL, so this test reads the string constants. The bench and the experiments are
excluded: they measure parts of the product from inside, by an exception of the import contracts.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prebook.flows import PROCESSES

LAB = Path(__file__).parents[2] / "loadtest" / "prebook" / "lab"
DATABASE_JUDGES = frozenset({"chaos/database.py", "burst/backlog.py", "suite_client/database.py"})
"""Modules that read the services' tables or open connections to do so. Their module docstrings say so."""
INSIDE = frozenset({"bench", "experiments"})
SERVICE_TABLE = re.compile(
    rf"\b(?:from|join|into|update|table|truncate|delete\s+from)\s+\"?(?:{'|'.join(PROCESSES)}|\{{\w*\}})\"?\.\w",
    re.IGNORECASE,
)
MODULES = sorted(path for path in LAB.rglob("*.py") if path.relative_to(LAB).parts[0] not in INSIDE)


def _name(path: Path) -> str:
    return path.relative_to(LAB).as_posix()


def _texts(tree: ast.AST) -> Iterator[str]:
    """Yield the string constants that are no docstrings; an interpolated expression of an f-string becomes ``{}``."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _reads_service_tables(source: str) -> bool:
    return any(SERVICE_TABLE.search(text) for text in _texts(ast.parse(source)))


@pytest.mark.parametrize("path", [path for path in MODULES if _name(path) not in DATABASE_JUDGES], ids=_name)
def test_a_lab_module_contains_no_sql_on_service_tables(path: Path) -> None:
    source = path.read_text()
    assert not _reads_service_tables(source)
    assert "asyncpg.connect" not in source


@pytest.mark.parametrize("name", sorted(DATABASE_JUDGES))
def test_a_database_judge_says_so_in_its_docstring(name: str) -> None:
    docstring = ast.get_docstring(ast.parse((LAB / name).read_text())) or ""
    assert "database judge" in docstring.lower()
    assert "private tables" in docstring


@pytest.mark.parametrize("name", ["chaos/database.py", "burst/backlog.py"])
def test_the_sql_of_a_database_judge_is_recognized(name: str) -> None:
    assert _reads_service_tables((LAB / name).read_text())


@pytest.mark.parametrize(
    "source",
    ['"SELECT 1 FROM booking.booking"', 'f"DELETE FROM {schema}.outbox"', '"update pricing.campaign SET x = 1"'],
)
def test_sql_on_a_service_table_is_found(source: str) -> None:
    assert _reads_service_tables(f"QUERY = {source}")


def test_prose_is_not_taken_for_sql() -> None:
    assert not _reads_service_tables('"""Read from booking.api."""\nTEXT = "a reply from {} arrives."')
