"""Benchmarks of the suite's parts: each part against a baseline that does the least possible with the same clients.

The bench measures from inside, unlike the other runs of the lab: a subject runs the suite's own classes and its
baseline the bare client, on the same broker and database, in interleaved rounds.
"""
