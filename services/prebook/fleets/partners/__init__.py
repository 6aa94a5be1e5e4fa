"""Simulated partners: a request in bytes, and after a delay a reply in bytes. They know their own wire formats only."""
