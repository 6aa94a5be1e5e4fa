"""Experiment: routes of rides that stay with their sender, and are read by the receivers."""
