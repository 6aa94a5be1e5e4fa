"""Experiment: what poison messages cost the messages beside them."""
