"""Replays of dead letters: eligibility, pacing, redelivery."""
