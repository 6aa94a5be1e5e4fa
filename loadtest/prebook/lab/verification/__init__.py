"""Verification of reports: numbers recomputed from raw results, and claims judged again on another run."""
