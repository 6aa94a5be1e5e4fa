"""Supervisor of the service processes: restarts them, and injects faults through its control API."""
