"""The same riders and books as in the other tests with real parts."""

from tests.integration.conftest import books, riders

__all__ = ["books", "riders"]
