"""Fleets: simulated partners, each with its own wire format, behind message translators."""
