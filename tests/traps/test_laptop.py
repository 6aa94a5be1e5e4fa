"""Trap 17: a demo that needs more memory than a laptop has."""

from pathlib import Path
from typing import Any

import yaml

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
LAPTOP_MB = 2048
MEGABYTES_PER_UNIT = {"m": 1, "g": 1024}


def test_trap_17_every_container_has_a_limit_and_all_fit_a_laptop() -> None:
    """microservices-patterns/ftgo-application#103, open-telemetry/opentelemetry-demo#2126: no memory limits."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    limits = {name: _megabytes(service["mem_limit"]) for name, service in services.items()}
    long_running = {
        name: limits[name] for name, service in services.items() if service.get("restart") and _is_default(service)
    }
    assert len(long_running) >= 7
    assert sum(long_running.values()) <= LAPTOP_MB, "all containers fit if each uses its full limit"


def _is_default(service: dict[str, Any]) -> bool:
    """Return whether `docker compose up` starts a service without naming a profile."""
    return "profiles" not in service


def _megabytes(limit: str) -> int:
    return int(limit[:-1]) * MEGABYTES_PER_UNIT[limit[-1]]
