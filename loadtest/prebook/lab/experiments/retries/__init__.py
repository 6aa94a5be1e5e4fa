"""Experiments on retries: their schedule, and what they cost where several layers retry."""
