"""Chaos run: random faults from the catalogue under load, then a verdict on the outcome of every booking."""
