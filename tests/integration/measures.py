"""What the services count, read from their /metrics."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.suite import Suite


async def counted(suite: Suite, name: str, service: str = "", **labels: str) -> float:
    """Sum of ``prebook_messages_<name>_total`` over all services, or of one, for these labels."""
    return await read_counter(suite, f"prebook_messages_{name}_total", service, **labels)


async def read_counter(suite: Suite, metric: str, service: str = "", **labels: str) -> float:
    """Sum of a counter over all services, or of one, for these labels."""
    urls = [url for known, url in suite.where.urls.items() if service in {"", known}]
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        pages = [(await http.get(f"{url}/metrics")).text for url in urls]
    samples = [s for page in pages for family in text_string_to_metric_families(page) for s in family.samples]
    return sum(s.value for s in samples if s.name == metric and labels.items() <= dict(s.labels).items())
