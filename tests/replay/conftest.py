"""Fixtures of the integration tests, for the tests here that run a real suite."""

from tests.integration.conftest import books, riders

__all__ = ["books", "riders"]
