"""Experiment: which consumer arrangement keeps messages of one key in order."""
