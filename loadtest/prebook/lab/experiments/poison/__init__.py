"""Experiment: what poison messages cost the other messages of their queue."""
