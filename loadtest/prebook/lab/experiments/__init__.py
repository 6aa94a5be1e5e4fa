"""Experiments that crash real processes on purpose and count what came of it."""
