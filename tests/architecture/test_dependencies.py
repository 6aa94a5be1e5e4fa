"""Every package that the product or the lab imports is a declared dependency, not one of another dependency only."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = [path for root in ("services", "shared", "loadtest") for path in sorted((ROOT / root).rglob("*.py"))]
EXTRAS = {"shared/prebook/runtime/span_recorder.py": ("otel", {"opentelemetry": "opentelemetry-sdk"})}
"""Modules that import packages of an extra, with the distribution of each. They are loaded only if a setting asks for
them, and their packages need not be installed here."""
NO_DEPENDENCIES = sys.stdlib_module_names | {"prebook"}


def imported_packages(source: str) -> set[str]:
    """Names of the third-party packages that a module imports, at its top or in a function."""
    names = {module.partition(".")[0] for module in _imported_modules(ast.parse(source))}
    return names - NO_DEPENDENCIES


def _imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def normalized(distribution: str) -> str:
    """Name of a distribution, or of a requirement, as registries compare names. Source: PEP 503."""
    name = re.split(r"[^\w.-]", distribution, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_imported_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distributions = packages_distributions()
    imported = {path: imported_packages(path.read_text()) for path in MODULES}
    assert {"aio_pika", "asyncpg", "msgspec"} <= set().union(*imported.values())
    undeclared = {}
    for path, packages in imported.items():
        extra, optional = EXTRAS.get(str(path.relative_to(ROOT)), ("", {}))
        requirements = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]
        declared = {normalized(requirement) for requirement in requirements}
        found = {each: [optional[each]] if each in optional else distributions.get(each, ()) for each in packages}
        if missing := {each for each, names in found.items() if declared.isdisjoint(map(normalized, names))}:
            undeclared[path] = missing
    assert undeclared == {}


def test_imports_are_found_in_any_form_and_place() -> None:
    source = (
        "import os, yarl.path\nfrom . import own\nfrom prebook import x\ndef f():\n    from pamqp.common import y\n"
    )
    assert imported_packages(source) == {"yarl", "pamqp"}


def test_a_requirement_is_compared_by_its_name() -> None:
    assert normalized("SQLAlchemy[asyncio]>=2.0.50,<2.2") == normalized("sqlalchemy")
    assert normalized("prometheus_client>=0.22") == normalized("prometheus-client")
