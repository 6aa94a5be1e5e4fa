"""Comparison of two runs: differences of their latencies and goodput, with confidence intervals."""
