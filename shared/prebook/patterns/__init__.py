"""Patterns of the field as pure values and decisions: no I/O, no clock, no transport client."""
