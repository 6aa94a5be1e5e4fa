"""Fleets: three simulated partners of low control, each with its own words, behind message translators."""
