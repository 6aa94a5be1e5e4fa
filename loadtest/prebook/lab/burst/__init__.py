"""Burst comparison: several times the capacity for a minute, once with back pressure on and once with it off."""
