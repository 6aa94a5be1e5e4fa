"""Replays of dead letters: eligibility, redeliveries, throttle, runner, storage and API."""
