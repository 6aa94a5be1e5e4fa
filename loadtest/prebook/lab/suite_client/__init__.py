"""Clients of a running suite: services, supervisor, broker management API, database."""
