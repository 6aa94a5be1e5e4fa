"""Baselines: the least code that does the work with bare clients, without protection against failures."""
