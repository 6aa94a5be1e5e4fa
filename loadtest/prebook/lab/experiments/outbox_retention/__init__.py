"""Experiment: how purging sent rows bounds the outbox table."""
