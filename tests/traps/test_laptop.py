"""Trap 17 of the reliability page: a demo that asks for more than a laptop has."""

from pathlib import Path
from typing import Any

import yaml

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
LAPTOP_MB, UNIT = 2048, {"m": 1, "g": 1024}


def test_trap_17_every_container_has_a_limit_and_all_fit_a_laptop() -> None:
    """microservices-patterns/ftgo-application#103, open-telemetry/opentelemetry-demo#2126: containers without end."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    limits = {name: _megabytes(service["mem_limit"]) for name, service in services.items()}
    lasting = {name: limits[name] for name, service in services.items() if service.get("restart") and _usual(service)}
    assert len(lasting) >= 7
    assert sum(lasting.values()) <= LAPTOP_MB, "if each took all that it may"


def _usual(service: dict[str, Any]) -> bool:
    return "profiles" not in service


def _megabytes(limit: str) -> int:
    return int(limit[:-1]) * UNIT[limit[-1]]
