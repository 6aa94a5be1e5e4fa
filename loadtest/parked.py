"""What operations holds: messages that could not be handled, and which bookings they belong to."""

from loadtest.suite import Suite, SuiteUnreachable
from prebook.contracts.operations import ParkedLine, ParkedPage
from prebook.flows import OPERATIONS


async def parked_bookings(suite: Suite) -> frozenset[str]:
    """Raises SuiteUnreachable where no operations runs, or it does not answer."""
    return frozenset(line.conversation for line in await parked_lines(suite))


async def parked_lines(suite: Suite) -> tuple[ParkedLine, ...]:
    """Those that nobody has resolved or discarded. Raises SuiteUnreachable."""
    if not suite.has(OPERATIONS):
        raise SuiteUnreachable("nothing is known of operations; set PREBOOK_URL_OPERATIONS")
    found: list[ParkedLine] = []
    after: str | None = ""
    while after is not None:
        page = await suite.page(OPERATIONS, "/v1/parked", ParkedPage, {"after": after})
        found.extend(page.lines)
        after = page.next
    return tuple(found)
