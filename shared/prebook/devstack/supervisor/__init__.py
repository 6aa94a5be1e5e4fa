"""Keeps service processes running, and lets a campaign do to them what production does."""
