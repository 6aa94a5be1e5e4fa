"""Experiment: crash points of producer and consumer, with and without outbox and inbox."""
