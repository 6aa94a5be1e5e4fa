"""Experiment: trips that are split into bookings and aggregated to one outcome, while processes are killed."""
