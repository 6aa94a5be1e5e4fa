"""Experiments that crash or disturb real processes and count lost, duplicated and reordered effects."""
