"""A service that can call parties outside the suite declares an edge, which the check of the coupling then sees."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from prebook.flows import PROCESSES
from prebook.topology.external_edges import Contact, ExternalEdge

SERVICES = Path(__file__).parents[2] / "services" / "prebook"
OUTBOUND = (
    *("prebook.http.client", "prebook.http.push_target", "prebook.http.rider_callbacks"),
    *("httpx", "aiohttp", "urllib.request", "http.client", "smtplib", "socket"),
)
"""Modules by which a service calls another address than those of the couplings."""


def outbound_imports(source: str) -> Iterator[str]:
    """Yield the modules of OUTBOUND that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if any(name == each or name.startswith(f"{each}.") for each in OUTBOUND))


def edges_of(service: str) -> tuple[ExternalEdge, ...]:
    declared: tuple[ExternalEdge, ...] = import_module(f"prebook.{service}.app").SERVICE.external_edges
    return declared


@pytest.mark.parametrize("service", PROCESSES)
def test_a_service_that_can_call_outside_declares_an_edge(service: str) -> None:
    found = {
        f"{path.name}: {name}"
        for path in (SERVICES / service).rglob("*.py")
        for name in outbound_imports(path.read_text())
    }
    calls = any(edge.contact is Contact.CALLED for edge in edges_of(service))
    assert bool(found) is calls, f"{found}: declare an ExternalEdge in external_edges.py of {service}"


@pytest.mark.parametrize("service", PROCESSES)
def test_a_service_declares_its_own_edges_only(service: str) -> None:
    assert {edge.near for edge in edges_of(service)} <= {service}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import httpx", ["httpx"]),
        ("from prebook.http import client", ["prebook.http.client"]),
        ("from prebook.http.push_target import PushTarget", ["prebook.http.push_target"]),
        ("from prebook.http.problems import Problem\nimport http", []),
    ],
)
def test_an_outbound_import_is_found(source: str, expected: list[str]) -> None:
    assert sorted({name for name in outbound_imports(source) if name in OUTBOUND}) == expected
