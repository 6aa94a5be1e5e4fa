"""Local PostgreSQL: embedded from a wheel, or an external server."""
