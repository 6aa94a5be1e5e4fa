"""HTTP clients of a running suite: services, supervisor, broker management."""
