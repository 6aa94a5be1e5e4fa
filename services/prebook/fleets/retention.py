"""Retention of the routes of rides."""

from prebook.postgres.purge import PurgeRule, purge_statement
from prebook.runtime.retention import DAY_S

RETENTION_S = 400 * DAY_S
"""Retention of a route in seconds, from its last change: a ride is booked up to a year ahead. Routes are personal data,
so they are deleted after that."""
PURGES = (PurgeRule(purge_statement("route", "received_at"), RETENTION_S),)
