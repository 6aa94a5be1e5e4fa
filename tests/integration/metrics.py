"""Counters of the services, read from their /metrics pages."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.suite import Suite


async def read_message_counter(suite: Suite, name: str, service: str = "", **labels: str) -> float:
    """Return the sum of ``prebook_messages_<name>_total`` with these labels, over all services or of ``service``."""
    return await read_counter(suite, f"prebook_messages_{name}_total", service, **labels)


async def read_counter(suite: Suite, metric: str, service: str = "", **labels: str) -> float:
    """Return the sum of a counter or gauge with these labels, over all services or of ``service``."""
    urls = [url for name, url in suite.state.internal_urls.items() if service in {"", name}]
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        pages = [(await http.get(f"{url}/metrics")).text for url in urls]
    samples = [s for page in pages for family in text_string_to_metric_families(page) for s in family.samples]
    return sum(s.value for s in samples if s.name == metric and labels.items() <= dict(s.labels).items())
