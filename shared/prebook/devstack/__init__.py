"""A suite on one machine, for development, tests and the lab: broker, database, services, supervisor, fault proxies."""
