"""PostgreSQL adapter of the booking store."""
