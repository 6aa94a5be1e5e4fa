"""Number of requests and replies that all services have sent, by coupling, read from their /metrics pages."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from prebook.lab.experiments.variability.deployments import Deployments
from prebook.messaging.envelope import MessageKind

SENT = "prebook_messages_sent_total"
EVENT = MessageKind.EVENT.value
READ_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


@dataclass(frozen=True)
class MessageCounter:
    """Reads the counters of the present instances; they begin at 0 with each instance."""

    session: aiohttp.ClientSession = field(repr=False)
    deployments: Deployments

    async def read(self) -> Counter[str]:
        """Return the requests and replies sent so far, by coupling. Raises aiohttp.ClientError."""
        return count_sent([await self._read_page(url) for url in self.deployments.addresses.internal.values()])

    async def _read_page(self, url: str) -> str:
        async with self.session.get(f"{url}/metrics", timeout=READ_TIMEOUT) as response:
            response.raise_for_status()
            return await response.text()


def count_sent(pages: Iterable[str]) -> Counter[str]:
    """Return the requests and replies by coupling, summed over /metrics pages; events are one-way in every plan."""
    sent: Counter[str] = Counter()
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == SENT and sample.labels["kind"] != EVENT:
                    sent[sample.labels["coupling"]] += int(sample.value)
    return sent
