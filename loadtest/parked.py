"""What operations holds: messages that could not be handled, and which bookings they belong to."""

from loadtest.suite import Suite
from prebook.contracts.operations import ParkedLine, ParkedPage
from prebook.flows import OPERATIONS


async def parked_lines(suite: Suite) -> tuple[ParkedLine, ...]:
    """Those that nobody has resolved or discarded; none where no operations runs. Raises SuiteUnreachable."""
    found: list[ParkedLine] = []
    after: str | None = ""
    while after is not None and suite.has(OPERATIONS):
        page = await suite.page(OPERATIONS, "/v1/parked", ParkedPage, {"after": after})
        found.extend(page.lines)
        after = page.next
    return tuple(found)
