"""Fleets: simulated partners beyond our control, each with its own wire format, behind message translators."""
