"""Lists that a service returns in pages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar


class Page(Protocol):
    """One page of a list."""

    @property
    def next(self) -> str | None:
        """Cursor of the next page; None on the last one."""
        ...


P = TypeVar("P", bound=Page)


async def follow_pages(read_page: Callable[[str], Awaitable[P]]) -> AsyncIterator[P]:
    """Yield all pages in order. ``read_page`` reads the page after a cursor, which is empty for the first one."""
    after: str | None = ""
    while after is not None:
        page = await read_page(after)
        yield page
        after = page.next
