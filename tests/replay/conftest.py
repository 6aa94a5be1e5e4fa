"""Fixtures of the integration tests, for the tests here that run a real suite."""

from tests.integration.conftest import database, rider

__all__ = ["database", "rider"]
